"""Paddings by their usual names, as CNG's padding information and flags."""

from keyiso import flags as f
from keyiso.function_table import (
    BCRYPT_OAEP_PADDING_INFO,
    BCRYPT_PKCS1_PADDING_INFO,
    BCRYPT_PSS_PADDING_INFO,
    EncryptionPaddingInfo,
    PaddingInfo,
)
from keyiso.identifiers import NCRYPT_RSA_ALGORITHM


def signature_padding(
    algorithm: str, digest: bytes, hash: str, padding: str | None, salt_length: int | None
) -> tuple[PaddingInfo, int]:
    """What RSA signs a digest with: "PSS", which is also the default, or "PKCS1".

    Raises `ValueError` for another padding, and for any with an algorithm that has none.
    """
    if algorithm != NCRYPT_RSA_ALGORITHM:
        if padding is not None or salt_length is not None:
            raise ValueError(f"{algorithm} has no padding")
        return None, 0
    match padding:
        case "PSS" | None:
            salt = len(digest) if salt_length is None else salt_length
            return BCRYPT_PSS_PADDING_INFO(hash, salt), f.NCRYPT_PAD_PSS_FLAG
        case "PKCS1":
            return BCRYPT_PKCS1_PADDING_INFO(hash), f.NCRYPT_PAD_PKCS1_FLAG
    raise ValueError(f"{padding!r} is not a padding: use 'PSS' or 'PKCS1'")


def encryption_padding(padding: str, hash: str) -> tuple[EncryptionPaddingInfo, int]:
    """What RSA encrypts with: "OAEP" or "PKCS1". Raises `ValueError` for another one."""
    match padding:
        case "OAEP":
            return BCRYPT_OAEP_PADDING_INFO(hash), f.NCRYPT_PAD_OAEP_FLAG
        case "PKCS1":
            return None, f.NCRYPT_PAD_PKCS1_FLAG
    raise ValueError(f"{padding!r} is not an encryption padding: use 'OAEP' or 'PKCS1'")
