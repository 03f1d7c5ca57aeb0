"""Recovery keys in files: X25519 in PEM; a private one may be under a password."""

from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from keyiso import limits
from keyiso.cli._output import printable
from keyiso.cli._password import password_of
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status


def private_pem(key: X25519PrivateKey, password: bytes | None) -> bytes:
    """The file of a private key."""
    encryption: KeySerializationEncryption = (
        NoEncryption() if password is None else BestAvailableEncryption(password)
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: X25519PrivateKey) -> bytes:
    """The file of its public key."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def read_public_key(path: Path) -> bytes:
    """The public key in a file, 32 bytes. Raises ``NTE_BAD_DATA`` when there is none."""
    try:
        key = load_pem_public_key(_content(path))
    except (ValueError, UnsupportedAlgorithm):
        raise _no_key(path, "public") from None
    if not isinstance(key, X25519PublicKey):
        raise _no_key(path, "public")
    return key.public_bytes_raw()


def read_private_key(path: Path, password_file: BinaryIO | None) -> X25519PrivateKey:
    """The private key in a file; its password comes from another one, or is asked for.

    Raises ``NTE_BAD_DATA`` when there is none, ``NTE_INCORRECT_PASSWORD``.
    """
    pem = _content(path)
    password = None
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem:
        password = password_of(password_file, "Password of the recovery key")
    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, UnsupportedAlgorithm):
        if password is not None:
            raise ncrypt_error(
                Status.NTE_INCORRECT_PASSWORD, f"{printable(str(path))} does not open with it"
            ) from None
        raise _no_key(path, "private") from None
    if not isinstance(key, X25519PrivateKey):
        raise _no_key(path, "private")
    return key


def _content(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(limits.PRIVATE_KEY_BYTES)


def _no_key(path: Path, kind: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        f"{printable(str(path))} is no {kind} recovery key",
        "`keyiso recovery keygen FILE` makes one: FILE is private, FILE.pub is public.",
    )
