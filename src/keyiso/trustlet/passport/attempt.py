"""What to do next for an attempt with a PIN, from nothing but what is durable. No I/O.

Each step changes something durable, or answers. So a process that is killed anywhere leaves what
another one goes on from: it asks for the next step.

An attempt has an id, chosen by who asks for the PIN, and kept until an answer has come. The id and
the count are noted before the attempt. If the count has moved when somebody looks again, it was
counted: it was wrong, and is not made again. If it has not, or is 0, the attempt was not made, or
was right: it may be made, under the same id, and is counted once.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from keyiso import limits
from keyiso.crypto.pin_counters import Counters, LockSchedule


class AttemptNotes(msgspec.Struct, frozen=True, array_like=True):
    """What is durable about a container's attempts besides its counters."""

    attempt_id: bytes = b""
    """The one that was last begun, 16 bytes; empty for none."""
    count_before: int = 0
    found_wrong: tuple[bytes, ...] = ()
    """Ids of attempts that were counted, the newest first."""

    def begun(self, attempt_id: bytes, count: int) -> "AttemptNotes":
        """With an attempt that is about to be made."""
        return AttemptNotes(attempt_id, count, self.found_wrong)

    def counted(self) -> "AttemptNotes":
        """With the last attempt among those that were wrong."""
        wrong = (self.attempt_id, *self.found_wrong)
        return AttemptNotes(found_wrong=wrong[: limits.PIN_FOUND_WRONG])


class Situation(enum.Enum):
    """What somebody who looks at notes, counters and time finds."""

    FOUND_WRONG = "this attempt was found wrong before"
    COUNTED = "an attempt is noted, and the count has moved since"
    LOCKS_NOW = "the count has come to the limit"
    LOCKED = "the lock's end has not come"
    RESTARTED = "the lock's end is further away than any: the time began anew"
    LOCK_OVER = "the lock's end has come"
    NOTED = "this attempt is noted, and was not counted"
    OPEN = "there are attempts left"


class Step(enum.Enum):
    """What to do then."""

    ANSWER_WRONG = "answer that the PIN is wrong"
    NOTE_WRONG = "note that the attempt was wrong"
    WRITE_END = "write the lock's end into the counters"
    ANSWER_LOCKED = "answer that the container is locked"
    ALLOW_ONE = "allow one more attempt"
    TRY = "try the PIN"
    NOTE = "note this attempt and the count"


STEPS: Final[Mapping[Situation, Step]] = MappingProxyType(
    {
        Situation.FOUND_WRONG: Step.ANSWER_WRONG,
        Situation.COUNTED: Step.NOTE_WRONG,
        Situation.LOCKS_NOW: Step.WRITE_END,
        Situation.LOCKED: Step.ANSWER_LOCKED,
        Situation.RESTARTED: Step.WRITE_END,
        Situation.LOCK_OVER: Step.ALLOW_ONE,
        Situation.NOTED: Step.TRY,
        Situation.OPEN: Step.NOTE,
    }
)


def next_step(
    attempt_id: bytes,
    notes: AttemptNotes,
    counters: Counters,
    seconds: int,
    schedule: LockSchedule,
) -> Step:
    """The step to be done now. ``seconds`` is the counters' own time; it matters in a lock."""
    return STEPS[situation(attempt_id, notes, counters, seconds, schedule)]


def situation(
    attempt_id: bytes,
    notes: AttemptNotes,
    counters: Counters,
    seconds: int,
    schedule: LockSchedule,
) -> Situation:
    """The first situation, in their order, that this is."""
    if attempt_id in notes.found_wrong:
        return Situation.FOUND_WRONG
    if notes.attempt_id and counters.count not in (0, notes.count_before):
        return Situation.COUNTED
    if counters.is_locked:
        return _situation_in_lock(counters, seconds, schedule)
    if notes.attempt_id == attempt_id and notes.count_before == counters.count:
        return Situation.NOTED
    return Situation.OPEN


def lock_is_to_begin(counters: Counters, seconds: int, schedule: LockSchedule) -> bool:
    """Whether the end of the lock that is there is still to be written, or anew."""
    return STEPS[_situation_in_lock(counters, seconds, schedule)] is Step.WRITE_END


def _situation_in_lock(counters: Counters, seconds: int, schedule: LockSchedule) -> Situation:
    if counters.count == counters.limit:
        return Situation.LOCKS_NOW
    if seconds >= counters.count:
        return Situation.LOCK_OVER
    if counters.count - seconds > schedule.backoff(counters):
        return Situation.RESTARTED
    return Situation.LOCKED
