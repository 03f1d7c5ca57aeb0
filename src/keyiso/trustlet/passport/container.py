"""A container: what its user can do with it, with a PIN and without.

Nothing here decides who may ask; that is the KeyIso service's. What only the PIN releases, only the
PIN releases.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from keyiso.clock import Clock
from keyiso.crypto.container_copy import ResetRequest, encode_reset, seal_copy
from keyiso.crypto.container_secret import ContainerSecret, new_container_secret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_cost import COST_64_KIB, COST_64_MIB, PinCost
from keyiso.crypto.pin_history import new_history, open_history, seal_history
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.pin_sealed import decode_pin_sealed
from keyiso.trustlet.passport.attempt import AttemptNotes, lock_is_to_begin
from keyiso.trustlet.passport.container_record import ContainerFiles, ContainerRecord
from keyiso.trustlet.passport.counters import LockSchedule
from keyiso.trustlet.passport.durable_file import exclusively
from keyiso.trustlet.passport.software_protector import (
    NOT_STOPPED,
    CountersOnFile,
    SoftwarePinProtector,
    make_software_protector,
)
from keyiso.trustlet.passport.tpm_place import TpmPlace
from keyiso.trustlet.passport.tpm_protector import TpmPinProtector
from keyiso.trustlet.passport.verification import PinProtector, verify_pin


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """What may be known without a PIN."""

    protector: str
    """``tpm`` or ``software``."""
    attempts_left: int
    locked_seconds: int
    """How long the lock lasts; 0 for none, and for one that is over."""
    has_expired: bool
    not_stopped: tuple[str, ...]
    """What this protector does not stop."""


class Container:
    """A container and where it lies. ``place`` is the TPM, None for a machine that has none."""

    def __init__(
        self,
        container_id: bytes,
        files: ContainerFiles,
        place: TpmPlace | None,
        clock: Clock,
        *,
        software_cost: PinCost = COST_64_MIB,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._id = container_id
        self._files = files
        self._place = place
        self._clock = clock
        self._software_cost = software_cost
        self._random = random

    def enrol(
        self,
        owner: int,
        pin: Pin,
        policy: PinPolicy,
        schedule: LockSchedule,
        *,
        reset_key: bytes = b"",
        attempt_id: bytes = b"",
    ) -> ContainerSecret:
        """Set the first PIN; the secret is new. Who has the private half of ``reset_key`` (X25519,
        32 bytes) can have it reset while keys are kept. Repeating it with the same PIN under the
        same ``attempt_id`` is safe.

        Raises ``NTE_EXISTS`` for a container that has a PIN, ``NTE_VALIDATION_FAILED`` for a PIN
        that breaks the policy.
        """
        policy.check(pin)
        with exclusively(self._files.directory):
            begun = self._files.record.read()
            if begun is not None and begun.is_enrolled:
                if attempt_id and begun.changed_by == attempt_id:
                    return self._verified(begun, attempt_id, pin)
                raise ncrypt_error(Status.NTE_EXISTS, "the container has a PIN", "Change it.")
            handles = begun.handles if begun else ()
            record = ContainerRecord(
                owner=owner,
                policy=policy,
                schedule=schedule,
                handles=handles,
                reset_key=reset_key,
                changed_by=attempt_id,
            )
            return self._set_first(self._with_handles(record), pin)

    def verify(self, attempt_id: bytes, pin: Pin) -> ContainerSecret:
        """The secret, for the right PIN.

        Raises what `verify_pin` does, ``NTE_PASSWORD_CHANGE_REQUIRED`` for a right PIN that has
        expired, and ``NTE_NOT_FOUND`` for a container that has no PIN.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            secret = self._verified(record, attempt_id, pin)
            if record.policy.has_expired(record.pin_set_at, self._clock.time()):
                raise ncrypt_error(
                    Status.NTE_PASSWORD_CHANGE_REQUIRED,
                    f"the PIN is older than {record.policy.expiration_days} days",
                    "Change it.",
                )
            return secret

    def change(self, attempt_id: bytes, old: Pin, new: Pin) -> None:
        """Set another PIN; keys are kept. An attempt with the old PIN; repeating it is safe.

        Raises what `verify` does, and ``NTE_VALIDATION_FAILED`` for a new PIN that breaks the
        policy, before the old one is tried, or that is in the history.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            if record.changed_by == attempt_id:
                return
            record.policy.check(new)
            record = self._with_handles(record)
            secret = self._verified(record, attempt_id, old)
            history = self._history_with(record, secret, new)
            changed = msgspec.structs.replace(record, history=history, changed_by=attempt_id)
            self._protect(changed, secret, new)

    def reset(self, pin: Pin, kept: ContainerSecret | None = None) -> ContainerSecret:
        """Set a PIN without the old one. Keys are lost, unless ``kept`` is the container's secret,
        from the answer to a `reset_request`.

        Raises ``NTE_VALIDATION_FAILED`` as `enrol` does, ``NTE_NOT_FOUND`` as `verify` does, and
        ``NTE_BAD_DATA`` when this is not the container's secret.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            record.policy.check(pin)
            record = self._with_handles(record)
            if kept is None:
                return self._set_first(msgspec.structs.replace(record, changed_by=b""), pin)
            kept.check(record.secret_check)
            history = self._history_with(record, kept, pin)
            self._protect(
                msgspec.structs.replace(record, history=history, changed_by=b""), kept, pin
            )
            return kept

    def reset_request(self, worker_key: bytes) -> bytes:
        """What whoever has the reset key is asked, to be answered to this key (X25519, 32 bytes).

        Raises ``NTE_NOT_SUPPORTED`` for a container that has no reset key.
        """
        record = self._enrolled()
        if not record.copy:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "the container has no reset key",
                "Reset the PIN without keeping keys.",
            )
        return encode_reset(ResetRequest(worker_key, self._id, record.copy))

    def status(self) -> ContainerStatus:
        """Raises ``NTE_NOT_FOUND`` as `verify` does, and what reading the counters does.

        Who sees a lock makes no attempt. So it begins here too, if it has not.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            protector = self._protector(record)
            counters = protector.counters(b"")
            lock = 0
            if counters.is_locked:
                seconds = protector.seconds()
                if lock_is_to_begin(counters, seconds, record.schedule):
                    counters = record.schedule.locked(counters, seconds)
                    protector.write(counters)
                lock = max(0, counters.count - seconds)
                if not lock:  # as the next attempt finds it
                    counters = record.schedule.one_more(counters)
            return ContainerStatus(
                "tpm" if record.tpm else "software",
                counters.attempts_left,
                lock,
                record.policy.has_expired(record.pin_set_at, self._clock.time()),
                () if record.tpm else NOT_STOPPED,
            )

    def _set_first(self, record: ContainerRecord, pin: Pin) -> ContainerSecret:
        secret = new_container_secret(self._id, random=self._random)
        history = self._history_with(msgspec.structs.replace(record, history=b""), secret, pin)
        copy = seal_copy(secret, record.reset_key) if record.reset_key else b""
        record = msgspec.structs.replace(
            record, history=history, secret_check=secret.check_value, copy=copy
        )
        self._protect(record, secret, pin)
        return secret

    def _protect(self, record: ContainerRecord, secret: ContainerSecret, pin: Pin) -> None:
        """Have the record's protector be a new one, and remove what was before."""
        record = msgspec.structs.replace(record, pin_set_at=self._clock.time())
        if self._place is None and record.tpm is not None:
            raise _no_tpm()
        if self._place is None:
            protector = make_software_protector(
                secret, pin, cost=self._software_cost, random=self._random
            )
            fresh = CountersOnFile(record.schedule.fresh.count, record.schedule.fresh.limit)
            if not self._files.counters.exists:
                self._files.counters.write(fresh)
            self._files.record.write(msgspec.structs.replace(record, software=protector))
            # Not before: the old PIN must not get new attempts when this process ends here.
            self._files.counters.write(fresh)
            return
        handle = _unused_handles(record)[0]
        made = self._place.protect(handle, secret, pin, record.schedule)
        record = msgspec.structs.replace(record, tpm=made, software=None)
        self._files.record.write(record)
        self._place.clear(_unused_handles(record))

    def _with_handles(self, record: ContainerRecord) -> ContainerRecord:
        """The record with handles of the TPM, durable before an index is defined: so that none is
        left behind that nobody knows."""
        if self._place is None or record.handles:
            return record
        record = msgspec.structs.replace(record, handles=self._place.free_handles(self._random))
        self._files.record.write(record)
        return record

    def _verified(self, record: ContainerRecord, attempt_id: bytes, pin: Pin) -> ContainerSecret:
        secret = verify_pin(
            attempt_id, pin, self._protector(record), _NoteBook(self._files), record.schedule
        )
        if self._place is not None:
            # A process that ended while it changed the PIN left the other index behind.
            self._place.clear(_unused_handles(record))
        return secret

    def _history_with(self, record: ContainerRecord, secret: ContainerSecret, pin: Pin) -> bytes:
        kept = record.policy.history
        if not kept:
            return b""
        if record.history:
            history = open_history(secret, record.history)
        else:
            cost = self._software_cost if self._place is None else COST_64_KIB
            history = new_history(cost, random=self._random)
        return seal_history(secret, history.with_pin(pin, kept), random=self._random)

    def _protector(self, record: ContainerRecord) -> PinProtector:
        if record.software is not None:
            return SoftwarePinProtector(
                self._id, record.software, self._files.counters, self._clock.monotonic
            )
        if self._place is None or record.tpm is None:
            raise _no_tpm()
        return TpmPinProtector(self._place.tpm, self._id, record.tpm)

    def _enrolled(self) -> ContainerRecord:
        record = self._files.record.read()
        if record is None or not record.is_enrolled:
            raise ncrypt_error(Status.NTE_NOT_FOUND, "the container has no PIN", "Enrol one first.")
        return record


class _NoteBook:
    """Notes, of which there are none at first."""

    def __init__(self, files: ContainerFiles) -> None:
        self._file = files.notes

    def read(self) -> AttemptNotes:
        return self._file.read() or AttemptNotes()

    def write(self, notes: AttemptNotes) -> None:
        self._file.write(notes)


def _unused_handles(record: ContainerRecord) -> list[int]:
    used = None if record.tpm is None else decode_pin_sealed(record.tpm.under_pin).index.handle
    return [handle for handle in record.handles if handle != used]


def _no_tpm() -> NCryptError:
    return ncrypt_error(
        Status.NTE_DEVICE_NOT_FOUND,
        "the container's PIN is kept by a TPM, which is not there",
        "Give the machine its TPM back.",
    )
