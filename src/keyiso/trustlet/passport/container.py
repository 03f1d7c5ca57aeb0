"""A container: what its user can do with it, with a PIN and without.

Nothing here decides who may ask; that is the KeyIso service's. What only the PIN releases, only the
PIN releases.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.clock import Clock
from keyiso.crypto.container_copy import ResetRequest, encode_reset, open_reset, seal_copy
from keyiso.crypto.container_secret import ContainerSecret, new_container_secret
from keyiso.crypto.hpke import KEY_BYTES
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_cost import COST_64_KIB, COST_64_MIB, PinCost
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_history import new_history, open_history, seal_history
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.crypto.pin_rules import PinRules
from keyiso.crypto.recovery import recovery_fingerprint
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.pin_sealed import decode_pin_sealed
from keyiso.trustlet.passport.attempt import AttemptNotes, lock_is_to_begin
from keyiso.trustlet.passport.container_record import ContainerFiles, ContainerRecord
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
    reset_key: bytes
    """Its fingerprint; empty for none."""


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
        attempt_id: bytes = b"",
    ) -> ContainerSecret:
        """Set the first PIN; the secret is new. Repeating it with the same PIN under the same
        ``attempt_id`` is safe.

        Raises ``NTE_EXISTS`` for a container that has a PIN, ``NTE_VALIDATION_FAILED`` for a PIN
        that breaks the policy.
        """
        policy.check(pin)
        with exclusively(self._files.directory):
            begun = self._record()
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
            self._check_not_expired(record)
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

    def reset(self, pin: Pin, rules: PinRules | None = None) -> ContainerSecret:
        """Set a PIN without the old one. Keys are lost. ``rules`` are for this PIN and from now on;
        by default the container's.

        Raises ``NTE_VALIDATION_FAILED`` as `enrol` does, ``NTE_NOT_FOUND`` as `verify` does.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            if rules is not None:
                record = msgspec.structs.replace(
                    record, policy=rules.policy, schedule=rules.schedule
                )
            record.policy.check(pin)
            record = self._with_handles(record)
            return self._set_first(msgspec.structs.replace(record, changed_by=b""), pin)

    def set_reset_key(self, attempt_id: bytes, pin: Pin, reset_key: bytes) -> None:
        """Who has the private half of this key (X25519, 32 bytes; empty for none) can have the PIN
        reset while keys are kept. An attempt with the PIN; repeating it is safe.

        Raises what `verify` does, and ``NTE_BAD_DATA`` for what is no such key.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            secret = self._verified(record, attempt_id, pin)
            self._check_not_expired(record)
            copy = seal_copy(secret, reset_key) if reset_key else b""
            self._files.record.write(
                msgspec.structs.replace(record, reset_key=reset_key, copy=copy, asked=b"")
            )

    def request_reset(self) -> bytes:
        """What whoever has the reset key is asked. From now on no earlier answer is good.

        Raises ``NTE_NOT_SUPPORTED`` for a container that has no reset key.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            if not record.copy:
                raise ncrypt_error(
                    Status.NTE_NOT_SUPPORTED,
                    "the container has no reset key",
                    "Reset the PIN without keeping keys.",
                )
            record = msgspec.structs.replace(record, asked=self._random(KEY_BYTES))
            self._files.record.write(record)
            return self._request(record)

    def unlock(self, attempt_id: bytes, pin: Pin, answer: bytes) -> None:
        """Set a PIN with the answer to the last `request_reset`, which is used up by it. Keys are
        kept, and a lock ends. Repeating it is safe.

        Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER`` for what is not that answer, and then
        ``NTE_VALIDATION_FAILED`` as `change` does.
        """
        with exclusively(self._files.directory):
            record = self._enrolled()
            if record.changed_by == attempt_id:
                return
            secret = self._answered(record, answer)
            record.policy.check(pin)
            record = self._with_handles(record)
            history = self._history_with(record, secret, pin)
            changed = msgspec.structs.replace(record, history=history, changed_by=attempt_id)
            self._protect(changed, secret, pin)

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
                recovery_fingerprint(record.reset_key) if record.reset_key else b"",
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
        record = msgspec.structs.replace(record, pin_set_at=self._clock.time(), asked=b"")
        if self._place is None and record.tpm is not None:
            raise _no_tpm()
        if self._place is None:
            protector = make_software_protector(
                secret, pin, cost=self._software_cost, random=self._random
            )
            # Counters follow: the old PIN must not get new attempts when this process ends here.
            record = msgspec.structs.replace(record, software=protector, counts_anew=True)
            self._files.record.write(record)
            self._with_its_counters(record)
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

    def _check_not_expired(self, record: ContainerRecord) -> None:
        if record.policy.has_expired(record.pin_set_at, self._clock.time()):
            raise ncrypt_error(
                Status.NTE_PASSWORD_CHANGE_REQUIRED,
                f"the PIN is older than {record.policy.expiration_days} days",
                "Change it.",
            )

    def _request(self, record: ContainerRecord) -> bytes:
        worker_key = X25519PrivateKey.from_private_bytes(record.asked).public_key()
        return encode_reset(
            ResetRequest(
                worker_key.public_bytes_raw(),
                self._id,
                record.owner,
                recovery_fingerprint(record.reset_key),
                record.copy,
            )
        )

    def _answered(self, record: ContainerRecord, answer: bytes) -> ContainerSecret:
        """The container's secret. That it is the one is all that an answer proves."""
        if not record.asked:
            raise ncrypt_error(
                Status.NTE_BAD_DATA,
                "no request waits for an answer: the last one was used, or a PIN was set since",
                "Make another request.",
            )
        worker_key = X25519PrivateKey.from_private_bytes(record.asked)
        secret = open_reset(answer, worker_key, self._request(record))
        secret.check(record.secret_check)
        return secret

    def _enrolled(self) -> ContainerRecord:
        record = self._record()
        if record is None or not record.is_enrolled:
            raise ncrypt_error(Status.NTE_NOT_FOUND, "the container has no PIN", "Enrol one first.")
        return record

    def _record(self) -> ContainerRecord | None:
        record = self._files.record.read()
        return None if record is None else self._with_its_counters(record)

    def _with_its_counters(self, record: ContainerRecord) -> ContainerRecord:
        """The record, with its PIN's counters, also when a process ended before they were set."""
        if not record.counts_anew:
            return record
        fresh = record.schedule.fresh
        self._files.counters.write(CountersOnFile(fresh.count, fresh.limit))
        record = msgspec.structs.replace(record, counts_anew=False)
        self._files.record.write(record)
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
