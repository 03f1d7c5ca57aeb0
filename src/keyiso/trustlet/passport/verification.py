"""An attempt from its beginning to its answer, with whatever protects the container."""

from typing import Final, Protocol

from keyiso import limits
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_counters import Counters, LockSchedule
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.trustlet.passport.attempt import AttemptNotes, Step, next_step

_MOST_STEPS: Final = 32
"""An attempt takes seven. More means that somebody else changes the counters all the time."""


class PinProtector(Protocol):
    """What releases a container's secret for the right PIN, and counts the wrong ones."""

    def counters(self, attempt_id: bytes) -> Counters:
        """As they are for this attempt.

        Raises ``KEYISO_E_TPM_PIN_INDEX`` when they are gone, or not the ones that were made.
        """

    def seconds(self) -> int:
        """The time by which locks end. It begins anew at a restart, and nobody can set it on."""

    def write(self, counters: Counters) -> None:
        """Set the counters, durably."""

    def attempt(self, attempt_id: bytes, pin: Pin) -> ContainerSecret:
        """Try a PIN. It is counted, durably, before anybody can know that it is wrong.

        Raises ``NTE_INCORRECT_PASSWORD`` for a wrong one, ``NTE_AUTHENTICATION_IGNORED`` when no
        attempt was left.
        """


class NoteBook(Protocol):
    """Where a container's notes are kept."""

    def read(self) -> AttemptNotes:
        """The last notes that were written; empty ones at first."""

    def write(self, notes: AttemptNotes) -> None:
        """Replace the notes. They are durable when this returns."""


def verify_pin(
    attempt_id: bytes,
    pin: Pin,
    protector: PinProtector,
    book: NoteBook,
    schedule: LockSchedule,
) -> ContainerSecret:
    """The container's secret. Nobody else may be in here for the same container.

    Raises ``NTE_INCORRECT_PASSWORD`` for a wrong PIN, ``NTE_AUTHENTICATION_IGNORED`` for any PIN
    while the container is locked, and what the protector raises.
    """
    if len(attempt_id) != limits.ATTEMPT_ID_BYTES:
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "an attempt's id has another length")
    for _ in range(_MOST_STEPS):
        notes, counters = book.read(), protector.counters(attempt_id)
        seconds = protector.seconds() if counters.is_locked else 0
        match next_step(attempt_id, notes, counters, seconds, schedule):
            case Step.ANSWER_WRONG:
                raise _wrong(counters)
            case Step.ANSWER_LOCKED:
                raise _locked(counters.count - seconds)
            case Step.NOTE_WRONG:
                book.write(notes.counted())
            case Step.NOTE:
                book.write(notes.begun(attempt_id, counters.count))
            case Step.WRITE_END:
                protector.write(schedule.locked(counters, seconds))
            case Step.ALLOW_ONE:
                protector.write(schedule.one_more(counters))
            case Step.TRY:
                try:
                    secret = protector.attempt(attempt_id, pin)
                except NCryptError as error:
                    if error.status not in _COUNTED:
                        raise
                else:
                    if counters.limit != schedule.attempts:
                        protector.write(schedule.fresh)
                    return secret
    raise ncrypt_error(
        Status.NTE_DEVICE_NOT_READY,
        "the counters of wrong PINs were changed again and again during an attempt",
    )


_COUNTED: Final = (Status.NTE_INCORRECT_PASSWORD, Status.NTE_AUTHENTICATION_IGNORED)


def _wrong(counters: Counters) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INCORRECT_PASSWORD,
        f"the PIN is wrong; attempts that are left: {counters.attempts_left}",
    )


def _locked(seconds: int) -> NCryptError:
    return ncrypt_error(
        Status.NTE_AUTHENTICATION_IGNORED,
        "the container is locked after wrong PINs, and this PIN was not looked at",
        f"Try again in {seconds} seconds.",
    )
