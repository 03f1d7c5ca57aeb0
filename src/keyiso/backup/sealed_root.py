"""The machine root under a password: what makes a backup enough to have the keys.

AES-256-GCM under scrypt(password). The parameters belong to the version of the backup's format
and are not read from the file, so that nobody's file decides how much memory opening it takes.
"""

import os
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.status import Status

SCRYPT_N: Final = 2**17
SCRYPT_R: Final = 8
SCRYPT_P: Final = 1
"""128 MiB and about half a second for each guess (RFC 7914)."""

SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12


class SealedRoot(msgspec.Struct, frozen=True, array_like=True):
    """A machine root's file, encrypted."""

    root_id: bytes
    """Which root it is, for those who do not know the password."""
    salt: bytes
    nonce: bytes
    ciphertext: bytes
    """With its tag of 16 bytes."""


def seal_root(
    root_id: bytes,
    file: bytes,
    password: bytes,
    snapshot_sha256: bytes,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> SealedRoot:
    """Encrypt a root's file. It opens only beside the snapshot that it was sealed with."""
    salt, nonce = random(SALT_BYTES), random(NONCE_BYTES)
    cipher = _cipher(password, salt)
    ciphertext = cipher.encrypt(nonce, file, _associated(root_id, snapshot_sha256))
    return SealedRoot(root_id, salt, nonce, ciphertext)


def open_root(sealed: SealedRoot, password: bytes, snapshot_sha256: bytes) -> bytes:
    """The root's file. Raises ``NTE_BAD_DATA`` for a wrong password, or when the root or the
    snapshot beside it was changed.
    """
    cipher = _cipher(password, sealed.salt)
    try:
        return cipher.decrypt(
            sealed.nonce, sealed.ciphertext, _associated(sealed.root_id, snapshot_sha256)
        )
    except InvalidTag:
        raise ncrypt_error(
            Status.NTE_BAD_DATA,
            "the machine root cannot be opened: the password is wrong, or the backup was changed",
            "Try the password again; nothing was restored.",
        ) from None


def check_password(password: bytes) -> None:
    """Raises ``NTE_INVALID_PARAMETER`` for a password that no root is sealed under."""
    if not limits.BACKUP_PASSWORD_BYTES <= len(password) <= limits.PASSWORD_BYTES:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            f"the password of a machine root has {limits.BACKUP_PASSWORD_BYTES} to"
            f" {limits.PASSWORD_BYTES} bytes",
            "Take a long one: whoever has the file can try passwords at leisure.",
        )


def _cipher(password: bytes, salt: bytes) -> AESGCM:
    try:
        return AESGCM(Scrypt(salt, 32, SCRYPT_N, SCRYPT_R, SCRYPT_P).derive(password))
    except MemoryError:
        raise ncrypt_error(
            Status.NTE_NO_MEMORY, "the password's key derivation needs 128 MiB of memory"
        ) from None


def _associated(root_id: bytes, snapshot_sha256: bytes) -> bytes:
    return b"keyiso backup root 1" + root_id + snapshot_sha256
