"""Sealed properties: AES-256-GCM under HKDF(root, key id), for one key and one property's name.

Layout: version (1 byte, 1), nonce (12 bytes), ciphertext of the value with its tag (16 bytes).
Associated data: the version and the property's name.
"""

import os
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso.crypto.key_blob import Root
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

VERSION: Final = 1
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = 1 + _NONCE_BYTES + _TAG_BYTES
"""What sealing adds to a value."""


def seal_property(
    root: Root,
    key_id: bytes,
    name: bytes,
    value: bytes,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """A property's value as it is stored. ``name`` is UTF-16-LE."""
    nonce = random(_NONCE_BYTES)
    version = bytes([VERSION])
    return version + nonce + _cipher(root, key_id).encrypt(nonce, value, version + name)


def open_property(root: Root, key_id: bytes, name: bytes, sealed: bytes) -> bytes:
    """The value. Raises ``NTE_BAD_DATA`` for one that was changed, or of another key or name,
    and ``NTE_BAD_VER`` for one of an unknown version.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise _damaged("it is cut short")
    if sealed[0] != VERSION:
        raise ncrypt_error(
            Status.NTE_BAD_VER,
            f"the stored property has version {sealed[0]}; this keyiso reads version {VERSION}",
            "Use the keyiso that wrote it, or a newer one.",
        )
    nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    try:
        return _cipher(root, key_id).decrypt(nonce, ciphertext, sealed[:1] + name)
    except InvalidTag:
        raise _damaged("it was changed, or belongs to something else") from None


def _cipher(root: Root, key_id: bytes) -> AESGCM:
    derivation = HKDF(hashes.SHA256(), 32, salt=key_id, info=b"keyiso key property 1")
    return AESGCM(derivation.derive(root.secret))


def _damaged(cause: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        f"the stored property cannot be opened: {cause}",
        "Set it again; the key itself is not affected.",
    )
