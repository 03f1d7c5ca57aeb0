"""The beginning of a backup: what is in it, for people and for checking it."""

import math
from typing import Final

import msgspec

from keyiso import limits
from keyiso.backup.holdings import Holdings
from keyiso.backup.sealed_root import NONCE_BYTES, SALT_BYTES, SealedRoot
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.enrolment import decode_enrolment

SHA256_BYTES: Final = 32
MACHINE_BYTES: Final = 16
_LATEST: Final = 253_370_764_800.0
"""The year 9999, the last of Python's calendar: in every time zone there is a date."""


class Manifest(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What a backup is, and what must be found in its snapshot."""

    keyiso_version: str
    """The version that wrote it."""
    created: float
    """Seconds since 1970-01-01 UTC."""
    machine: bytes
    """Tells the machine from others and says nothing else of it; empty where it has no id."""
    system: bool
    """Of an instance that serves every user; otherwise of a user's own."""
    schema_version: int
    """Of the store in the snapshot."""
    holdings: Holdings
    snapshot_bytes: int
    snapshot_sha256: bytes
    root: SealedRoot | None
    """The machine root of the ``software`` workers, under a password."""
    enrolment: bytes = b""
    """The machine roots of ``vbs``, as the TPM sealed them; empty when there are none."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Manifest)


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's bytes. Raises ``KEYISO_E_LIMIT`` above ``BACKUP_MANIFEST_BYTES``."""
    data = _ENCODER.encode(manifest)
    if len(data) > limits.BACKUP_MANIFEST_BYTES:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT,
            f"the keys need {len(manifest.holdings.roots)} roots, more than a manifest of"
            f" BACKUP_MANIFEST_BYTES ({limits.BACKUP_MANIFEST_BYTES}) can name",
        )
    return data


def decode_manifest(data: bytes) -> Manifest:
    """The manifest of its bytes. Raises ``NTE_BAD_DATA`` for anything that is not one."""
    try:
        manifest = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise damaged("its manifest cannot be read") from None
    root = manifest.root
    if (
        len(manifest.snapshot_sha256) != SHA256_BYTES
        or len(manifest.machine) not in (0, MACHINE_BYTES)
        or manifest.snapshot_bytes < 0
        or not (math.isfinite(manifest.created) and 0 <= manifest.created < _LATEST)
        or (root is not None and not _has_its_lengths(root))
    ):
        raise damaged("its manifest has a value that cannot be")
    if manifest.enrolment:
        _check_enrolment(manifest.enrolment)
    return manifest


def _check_enrolment(data: bytes) -> None:
    try:
        decode_enrolment(data)
    except NCryptError as error:
        if error.status == Status.NTE_BAD_VER:
            raise
        raise damaged(error.cause) from None


def _has_its_lengths(root: SealedRoot) -> bool:
    return (
        len(root.root_id) == limits.ROOT_ID_BYTES
        and len(root.salt) == SALT_BYTES
        and len(root.nonce) == NONCE_BYTES
        and len(root.ciphertext) <= limits.BACKUP_ROOT_BYTES
    )


def damaged(cause: str) -> NCryptError:
    """What is said of a backup that is not as it was written."""
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        f"the backup is damaged: {cause}",
        "Use another copy or an older backup; nothing was restored.",
    )
