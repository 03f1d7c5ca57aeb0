"""What is stored of a container: its protector, its rules and its history, and what is durable of
attempts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from keyiso import limits
from keyiso.crypto.bound_seal import BoundSeal
from keyiso.crypto.key_blob import Root
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.trustlet.passport.attempt import AttemptNotes
from keyiso.trustlet.passport.durable_file import DurableFile
from keyiso.trustlet.passport.sealed_value import SealedValue
from keyiso.trustlet.passport.software_protector import CountersOnFile, SoftwareProtector
from keyiso.trustlet.passport.tpm_protector import TpmProtector

_MOST_BYTES: Final = limits.PASSPORT_RECORD_BYTES - 128
_RESET: Final = "Restore it from a backup, or reset the PIN."

RECORD: Final = BoundSeal("Passport container", _MOST_BYTES, _RESET)
NOTES: Final = BoundSeal("notes of attempts", _MOST_BYTES, "Remove the file: it counts nothing.")
COUNTERS: Final = BoundSeal("counters of wrong PINs", _MOST_BYTES, _RESET)


class ContainerRecord(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A user's container."""

    owner: int
    """The user's uid."""
    policy: PinPolicy
    schedule: LockSchedule
    pin_set_at: float = 0.0
    """Seconds since 1970."""
    history: bytes = b""
    """Of PINs, sealed under the container's secret; empty for none."""
    handles: tuple[int, ...] = ()
    """Two NV indices of the TPM that are this container's: a PIN that is changed gets the other
    one."""
    tpm: TpmProtector | None = None
    software: SoftwareProtector | None = None
    """With neither of them, the enrolment was not finished."""
    secret_check: bytes = b""
    """The `check_value` of the container's secret."""
    reset_key: bytes = b""
    """The public key that the copy is sealed to; empty for none."""
    copy: bytes = b""
    """The secret for a reset that keeps keys."""
    changed_by: bytes = b""
    """The id of the attempt that changed the PIN, whose answer may have been lost."""
    asked: bytes = b""
    """The private key (X25519) that the answer to the last request will be sealed to. Setting a PIN
    or another reset key ends it: an answer is good once."""
    counts_anew: bool = False
    """The PIN was set, and the counters are still those of the PIN before."""

    @property
    def is_enrolled(self) -> bool:
        return self.tpm is not None or self.software is not None

    def __repr__(self) -> str:
        return "<ContainerRecord>"


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """A container's files in a directory of its own."""

    directory: Path
    record: DurableFile[ContainerRecord]
    notes: DurableFile[AttemptNotes]
    counters: DurableFile[CountersOnFile]


def container_files(directory: Path, roots: Sequence[Root], container_id: bytes) -> ContainerFiles:
    """The files of a container. ``roots``: the newest first."""
    return ContainerFiles(
        directory,
        DurableFile(
            directory / "record", SealedValue(ContainerRecord, RECORD, roots, container_id)
        ),
        DurableFile(directory / "notes", SealedValue(AttemptNotes, NOTES, roots, container_id)),
        DurableFile(
            directory / "counters", SealedValue(CountersOnFile, COUNTERS, roots, container_id)
        ),
    )
