"""Sealed keys: AES-256-GCM under HKDF(root, key id), with an authenticated header.

Layout: version (1 byte, 1), length of the header (u32 little-endian), header (msgpack), nonce
(12 bytes), ciphertext of the DER PKCS #8 key with its tag (16 bytes). Everything before the
nonce is associated data.
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso import limits
from keyiso.crypto.key_header import KeyHeader, RootKind, decode_header, encode_header
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

VERSION: Final = 1
SECRET_BYTES: Final = 32
"""Of a root."""
_PREFIX: Final = struct.Struct("<BI")
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Root:
    """A secret that seals key blobs. It exists in the clear only inside a trustlet."""

    root_id: bytes
    """16 bytes, public: the blob names it."""
    kind: RootKind
    secret: bytes
    """``SECRET_BYTES``."""

    def __repr__(self) -> str:
        return f"Root({self.root_id.hex()}, {self.kind})"


def seal_key(
    root: Root,
    header: KeyHeader,
    pkcs8: bytes,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The blob of a key. The header must name this root."""
    if (header.root_id, header.root_kind) != (root.root_id, root.kind):
        raise ValueError("the header names another root")
    encoded = encode_header(header)
    associated = _PREFIX.pack(VERSION, len(encoded)) + encoded
    nonce = random(_NONCE_BYTES)
    return associated + nonce + _cipher(root, header).encrypt(nonce, pkcs8, associated)


def unseal_key(root: Root, blob: bytes) -> tuple[KeyHeader, bytes]:
    """The authenticated header of a blob, and its key as DER PKCS #8.

    Raises ``NTE_BAD_DATA`` when the blob was sealed by another root or was changed.
    """
    header, associated, rest = _split(blob)
    if header.root_id != root.root_id or header.root_kind != root.kind:
        raise _damaged(f"it is sealed by the {header.root_kind} root {header.root_id.hex()}")
    nonce, sealed = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
    try:
        return header, _cipher(root, header).decrypt(nonce, sealed, associated)
    except InvalidTag:
        raise _damaged("it was changed after it was sealed") from None


def read_header(blob: bytes) -> KeyHeader:
    """The header of a blob, *not* authenticated: good for finding a key, not for trusting it."""
    header, _, _ = _split(blob)
    return header


def _split(blob: bytes) -> tuple[KeyHeader, bytes, bytes]:
    if len(blob) > limits.KEY_BLOB_BYTES:
        raise _damaged(f"it is longer than {limits.KEY_BLOB_BYTES} bytes")
    if len(blob) < _PREFIX.size:
        raise _damaged("it is cut short")
    version, length = _PREFIX.unpack_from(blob)
    if version != VERSION:
        raise ncrypt_error(
            Status.NTE_BAD_VER,
            f"the key blob has version {version}; this keyiso reads version {VERSION}",
            "Use the keyiso that wrote it, or a newer one.",
        )
    end = _PREFIX.size + length
    if length > limits.KEY_HEADER_BYTES or len(blob) < end + _NONCE_BYTES + _TAG_BYTES:
        raise _damaged("it is cut short")
    return decode_header(blob[_PREFIX.size : end]), blob[:end], blob[end:]


def _cipher(root: Root, header: KeyHeader) -> AESGCM:
    derivation = HKDF(hashes.SHA256(), 32, salt=header.key_id, info=b"keyiso key blob 1")
    return AESGCM(derivation.derive(root.secret))


def _damaged(cause: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        f"the sealed key cannot be opened: {cause}",
        "Restore it from a backup; other keys are not affected.",
    )
