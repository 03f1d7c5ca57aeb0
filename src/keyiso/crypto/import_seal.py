"""Private keys on their way in: sealed by the client library to a worker's import key.

HPKE (RFC 9180) with X25519, HKDF-SHA256 and AES-256-GCM. What the key is to become (owner,
policy and so on) is HPKE's ``info``, so that nobody on the way can change it. Layout: version
(1 byte, 1), then HPKE's output.
"""

from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from keyiso import limits
from keyiso.crypto.hpke import KEY_BYTES, SUITE, TAG_BYTES
from keyiso.errors import ncrypt_error
from keyiso.status import Status

VERSION: Final = 1
_OVERHEAD: Final = 1 + KEY_BYTES + TAG_BYTES
"""Version, encapsulated key, tag: bytes."""


def seal_import(pkcs8: bytes, worker_key: bytes, terms: msgspec.Struct) -> bytes:
    """Seal a private key to a worker's import key (32 bytes), under the terms of the import.

    Raises ``KEYISO_E_LIMIT`` for a key above ``PRIVATE_KEY_BYTES``.
    """
    if len(pkcs8) > limits.PRIVATE_KEY_BYTES:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT,
            f"the private key has {len(pkcs8)} bytes;"
            f" PRIVATE_KEY_BYTES is {limits.PRIVATE_KEY_BYTES}",
        )
    try:
        public = X25519PublicKey.from_public_bytes(worker_key)
        return bytes([VERSION]) + SUITE.encrypt(pkcs8, public, _info(terms))
    except ValueError:
        raise ncrypt_error(
            Status.NTE_BAD_DATA, "what came as the worker's import key is not one"
        ) from None


def open_import(sealed: bytes, key: X25519PrivateKey, terms: msgspec.Struct) -> bytes:
    """The private key that was sealed under exactly these terms. Raises ``NTE_BAD_DATA``."""
    check_import_length(sealed)
    if sealed[:1] != bytes([VERSION]):
        raise ncrypt_error(Status.NTE_BAD_VER, "the sealed import has a version not known here")
    try:
        return SUITE.decrypt(sealed[1:], key, _info(terms))
    except (InvalidTag, ValueError):
        raise ncrypt_error(
            Status.NTE_BAD_DATA,
            "the sealed import was not made for this worker and these terms",
        ) from None


def check_import_length(sealed: bytes) -> None:
    """Raise ``KEYISO_E_LIMIT`` for what holds more than any private key has."""
    if len(sealed) > limits.PRIVATE_KEY_BYTES + _OVERHEAD:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT,
            f"the sealed import holds more than PRIVATE_KEY_BYTES ({limits.PRIVATE_KEY_BYTES})",
        )


def takes_long_to_validate(sealed: bytes) -> bool:
    """A key that others should not wait behind while its numbers are checked."""
    return len(sealed) > limits.SHORT_IMPORT_BYTES


def _info(terms: msgspec.Struct) -> bytes:
    return b"keyiso import 1" + msgspec.msgpack.encode(terms)
