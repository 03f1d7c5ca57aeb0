"""Private keys on their way out, as far as their export policy allows.

Only the worker does this, from the policy in the sealed header (CNG: "Export Policy").
"""

import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from keyiso import limits
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.crypto.key_header import KeyHeader
from keyiso.crypto.key_types import PrivateKey, SymmetricKey
from keyiso.crypto.private_blobs import PRIVATE_BLOBS, export_private_blob
from keyiso.crypto.private_keys import private_key_bytes
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import NCRYPT_ALLOW_EXPORT_FLAG, NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG
from keyiso.identifiers import (
    BCRYPT_KEY_DATA_BLOB,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
)
from keyiso.magics import BCRYPT_KEY_DATA_BLOB_MAGIC
from keyiso.status import Status

_KEY_DATA_HEADER = struct.Struct("<3I")


def export_private_key(
    key: PrivateKey, header: KeyHeader, blob_type: str, password: bytes
) -> bytes:
    """The key as a blob; with a password, as an encrypted PKCS #8 key.

    Raises ``NTE_NOT_SUPPORTED`` where the policy does not allow it and for a blob type that is
    not known, ``NTE_BAD_TYPE`` when the key cannot be exported as that type.
    """
    encrypted = bool(password) and blob_type == NCRYPT_PKCS8_PRIVATE_KEY_BLOB
    _check_policy(
        header, NCRYPT_ALLOW_EXPORT_FLAG if encrypted else NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG
    )
    if password and not encrypted:
        # Who gives a password must not get a key in the clear.
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "only PKCS #8 keys take a password")
    if len(password) > limits.PASSWORD_BYTES:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"a password has at most {limits.PASSWORD_BYTES} bytes"
        )
    if isinstance(key, SymmetricKey):
        if blob_type != BCRYPT_KEY_DATA_BLOB:
            raise _bad_type(header, blob_type)
        return _KEY_DATA_HEADER.pack(BCRYPT_KEY_DATA_BLOB_MAGIC, 1, len(key.value)) + key.value
    if blob_type == NCRYPT_PKCS8_PRIVATE_KEY_BLOB:
        if not encrypted:
            return private_key_bytes(key)
        return key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password),
        )
    if blob_type not in PRIVATE_BLOBS:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, f"the blob type {blob_type!r:.80} is not supported"
        )
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raise _bad_type(header, blob_type)
    return export_private_blob(key, ALGORITHMS[header.algorithm].group, blob_type)


def _check_policy(header: KeyHeader, flag: int) -> None:
    """Plaintext export implies encrypted export: who may have the key may encrypt it."""
    allowed = header.export_policy
    if allowed & NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG:
        allowed |= NCRYPT_ALLOW_EXPORT_FLAG
    if not allowed & flag:
        plain = flag == NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            "the key's export policy does not allow it to be exported"
            + (" in the clear" if plain else ""),
            "The policy is chosen when the key is made; it cannot be widened.",
        )


def _bad_type(header: KeyHeader, blob_type: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_TYPE, f"a key of {header.algorithm} cannot be exported as {blob_type!r:.80}"
    )
