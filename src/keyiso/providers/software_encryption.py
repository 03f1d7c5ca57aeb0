"""The software provider's encryption: CNG's structures and flags as the values keyiso uses."""

import struct
from collections.abc import Sequence
from typing import Final

from keyiso.crypto.agreement import KdfParameter
from keyiso.crypto.ciphers import CipherParameters, Mode
from keyiso.crypto.encryption import EncryptionPadding
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_CIPHER_BLOCK_PADDING_FLAG,
    NCRYPT_NO_PADDING_FLAG,
    NCRYPT_PAD_CIPHER_FLAG,
    NCRYPT_PAD_OAEP_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
)
from keyiso.function_table import (
    BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO,
    BCRYPT_OAEP_PADDING_INFO,
    NCRYPT_CIPHER_PADDING_INFO,
    EncryptionPaddingInfo,
    NCryptBuffer,
)
from keyiso.magics import BCRYPT_KEY_DATA_BLOB_MAGIC
from keyiso.status import Status

RSA_FLAGS: Final = NCRYPT_NO_PADDING_FLAG | NCRYPT_PAD_PKCS1_FLAG | NCRYPT_PAD_OAEP_FLAG
_KEY_DATA: Final = struct.Struct("<3I")
ENCRYPTION_FLAGS: Final = RSA_FLAGS | NCRYPT_PAD_CIPHER_FLAG


def rsa_padding(info: EncryptionPaddingInfo, flags: int) -> EncryptionPadding:
    """Flag and structure as one value. No padding and PKCS #1 ignore the structure, as in CNG."""
    scheme = flags & ENCRYPTION_FLAGS
    if scheme in (NCRYPT_NO_PADDING_FLAG, NCRYPT_PAD_PKCS1_FLAG):
        return EncryptionPadding(scheme)
    if scheme == NCRYPT_PAD_OAEP_FLAG and isinstance(info, BCRYPT_OAEP_PADDING_INFO):
        return EncryptionPadding(scheme, info.pszAlgId, info.pbLabel)
    raise _disagree()


def cipher_parameters(
    info: EncryptionPaddingInfo, flags: int, mode: Mode
) -> tuple[CipherParameters, BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO | None]:
    """What the worker needs for AES, and where the tag is for GCM."""
    if flags & RSA_FLAGS or not isinstance(info, NCRYPT_CIPHER_PADDING_INFO):
        raise _disagree()
    if mode == "ChainingModeGCM":
        if info.pbOtherInfo is None:
            raise _disagree()
        other = info.pbOtherInfo
        return CipherParameters(mode, other.pbNonce, other.pbAuthData), other
    padded = bool(info.dwFlags & NCRYPT_CIPHER_BLOCK_PADDING_FLAG)
    return CipherParameters(mode, info.pbIV, pad=padded), None


def kdf_parameters(parameters: Sequence[NCryptBuffer]) -> tuple[KdfParameter, ...]:
    """A parameter list; strings are sent as CNG has them, UTF-16-LE."""
    return tuple(
        KdfParameter(
            entry.BufferType,
            entry.pvBuffer.encode("utf-16-le")
            if isinstance(entry.pvBuffer, str)
            else bytes(entry.pvBuffer),
        )
        for entry in parameters
    )


def key_data(blob: bytes) -> bytes:
    """The bytes of a KeyDataBlob: magic, version 1, length, key."""
    if len(blob) < _KEY_DATA.size:
        raise _bad_blob()
    magic, version, size = _KEY_DATA.unpack_from(blob)
    if magic != BCRYPT_KEY_DATA_BLOB_MAGIC:
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "the blob's magic is not KDBM")
    if version != 1 or len(blob) != _KEY_DATA.size + size:
        raise _bad_blob()
    return blob[_KEY_DATA.size :]


def _bad_blob() -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, "the key data blob's lengths do not add up")


def _disagree() -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, "the padding flag and the padding information do not agree"
    )
