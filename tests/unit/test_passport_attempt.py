"""The attempt, as a table and as a machine that is killed at each of its steps."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyiso import limits
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_counters import Counters, LockSchedule
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status, status_name
from keyiso.trustlet.passport.attempt import (
    STEPS,
    AttemptNotes,
    Situation,
    Step,
    next_step,
    situation,
)
from keyiso.trustlet.passport.verification import verify_pin
from tests.conformance.statuses import fails

A, B = b"a" * 16, b"b" * 16
SECRET = ContainerSecret(b"c" * 16, b"s" * 32)
SCHEDULE = LockSchedule(3, (60, 300))
NOW = 5000


class Killed(Exception):
    """The process ends here."""


class Machine:
    """A TPM and a disk, as an attempt sees them: what was written stays when the process ends.

    Each access is a place where the process can end: before it, or after it without an answer.
    """

    def __init__(self, right: bytes = b"482915") -> None:
        self.right = right
        self.notes = AttemptNotes()
        self.state = SCHEDULE.fresh
        self.now = NOW
        self.judged_wrong = 0
        self.steps_to_live: int | None = None

    def _step(self) -> None:
        if self.steps_to_live is not None:
            self.steps_to_live -= 1
            if self.steps_to_live < 0:
                raise Killed

    def read(self) -> AttemptNotes:
        return self.notes

    def counters(self, attempt_id: bytes) -> Counters:
        return self.state

    def seconds(self) -> int:
        return self.now

    def write(self, value: AttemptNotes | Counters) -> None:
        self._step()
        if isinstance(value, Counters):
            self.state = value
        else:
            self.notes = value
        self._step()

    def attempt(self, attempt_id: bytes, pin: Pin) -> ContainerSecret:
        self._step()
        if self.state.is_locked:
            raise ncrypt_error(Status.NTE_AUTHENTICATION_IGNORED)
        is_right = pin.characters == self.right
        if is_right:
            self.state = Counters(0, self.state.limit)
        else:
            self.state = Counters(self.state.count + 1, self.state.limit)
            self.judged_wrong += 1
        self._step()
        if not is_right:
            raise ncrypt_error(Status.NTE_INCORRECT_PASSWORD)
        return SECRET

    def answer(self, attempt_id: bytes, text: bytes, steps: int | None = None) -> str:
        """What the attempt is answered; "killed" when the process ends after so many accesses."""
        self.steps_to_live = steps
        try:
            assert verify_pin(attempt_id, Pin(bytearray(text)), self, self, SCHEDULE) is SECRET
        except Killed:
            return "killed"
        except NCryptError as error:
            return status_name(error.status)
        finally:
            self.steps_to_live = None
        return "right"


RIGHT, WRONG = b"482915", b"000001"
IS_WRONG, IS_LOCKED = "NTE_INCORRECT_PASSWORD", "NTE_AUTHENTICATION_IGNORED"


def new_ids() -> Iterator[bytes]:
    for number in itertools.count(1):
        yield number.to_bytes(16)


@pytest.mark.parametrize(
    ("notes", "counters", "seconds", "expected"),
    [
        (AttemptNotes(), (0, 3), 0, Situation.OPEN),
        (AttemptNotes(B, 1), (1, 3), 0, Situation.OPEN),
        (AttemptNotes(A, 1), (1, 3), 0, Situation.NOTED),
        (AttemptNotes(A, 0), (0, 3), 0, Situation.NOTED),
        (AttemptNotes(A, 2), (0, 3), 0, Situation.OPEN),
        (AttemptNotes(A, 1), (2, 3), 0, Situation.COUNTED),
        (AttemptNotes(B, 1), (2, 3), 0, Situation.COUNTED),
        (AttemptNotes(A, 2), (3, 3), NOW, Situation.COUNTED),
        (AttemptNotes(A, 2), (NOW, 3), NOW, Situation.COUNTED),
        (AttemptNotes(B, 0, (A,)), (1, 3), 0, Situation.FOUND_WRONG),
        (AttemptNotes(found_wrong=(A,)), (NOW + 60, 3), NOW, Situation.FOUND_WRONG),
        (AttemptNotes(), (3, 3), NOW, Situation.LOCKS_NOW),
        (AttemptNotes(), (NOW + 60, 3), NOW, Situation.LOCKED),
        (AttemptNotes(), (NOW + 1, 3), NOW, Situation.LOCKED),
        (AttemptNotes(), (NOW, 3), NOW, Situation.LOCK_OVER),
        (AttemptNotes(), (NOW + 61, 3), NOW, Situation.RESTARTED),
        (AttemptNotes(), (NOW + 300, 2), NOW, Situation.LOCKED),
        (AttemptNotes(), (NOW + 301, 1), NOW, Situation.RESTARTED),
    ],
)
def test_what_is_durable_is_a_situation(
    notes: AttemptNotes, counters: tuple[int, int], seconds: int, expected: Situation
) -> None:
    found = situation(A, notes, Counters(*counters), seconds, SCHEDULE)

    assert found is expected
    assert next_step(A, notes, Counters(*counters), seconds, SCHEDULE) is STEPS[expected]


def test_every_situation_has_a_step_and_every_step_a_situation() -> None:
    assert set(STEPS) == set(Situation)
    assert set(STEPS.values()) == set(Step)


def test_wrong_pins_lock_and_then_right_and_wrong_are_answered_alike() -> None:
    machine, ids = Machine(), new_ids()
    assert [machine.answer(next(ids), WRONG) for _ in range(3)] == [IS_WRONG] * 3
    assert [machine.answer(next(ids), text) for text in (RIGHT, WRONG)] == [IS_LOCKED] * 2
    machine.now += 59
    assert machine.answer(next(ids), RIGHT) == IS_LOCKED
    machine.now += 1
    assert machine.answer(next(ids), RIGHT) == "right"
    assert machine.state == SCHEDULE.fresh


def test_each_lock_lets_one_attempt_pass_and_lasts_longer() -> None:
    machine, ids = Machine(), new_ids()
    for _ in range(3):
        machine.answer(next(ids), WRONG)
    for backoff in (60, 300, 300, 300):
        assert machine.answer(next(ids), WRONG) == IS_LOCKED
        machine.now += backoff - 1
        assert machine.answer(next(ids), WRONG) == IS_LOCKED
        machine.now += 1
        assert machine.answer(next(ids), WRONG) == IS_WRONG
    assert machine.judged_wrong == 7


def test_a_lock_begins_anew_when_the_time_does() -> None:
    machine, ids = Machine(), new_ids()
    for _ in range(3):
        machine.answer(next(ids), WRONG)
    assert machine.answer(next(ids), RIGHT) == IS_LOCKED
    machine.now = 7
    assert machine.answer(next(ids), RIGHT) == IS_LOCKED
    machine.now += 59
    assert machine.answer(next(ids), RIGHT) == IS_LOCKED
    machine.now += 1
    assert machine.answer(next(ids), RIGHT) == "right"


def test_an_attempt_that_is_repeated_is_answered_as_before_and_counted_once() -> None:
    machine = Machine()
    for _ in range(5):
        assert machine.answer(A, WRONG) == IS_WRONG
    assert machine.judged_wrong == machine.state.count == 1
    assert machine.answer(B, WRONG) == IS_WRONG
    assert machine.answer(A, RIGHT) == IS_WRONG, "the id is used up"
    assert machine.state.count == 2
    for _ in range(5):
        assert machine.answer(b"c" * 16, RIGHT) == "right"
    assert machine.state == SCHEDULE.fresh


def every_kill(machine: Callable[[], Machine], attempt_id: bytes, text: bytes) -> Iterator[Machine]:
    """Machines on which the attempt was killed at its first step, its second one, and so on."""
    for steps in itertools.count():
        killed = machine()
        if killed.answer(attempt_id, text, steps) != "killed":
            return
        yield killed


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("text", [RIGHT, WRONG])
def test_a_kill_at_any_step_charges_nothing_twice(text: bytes, before: int) -> None:
    def prepared() -> Machine:
        machine, ids = Machine(), new_ids()
        for _ in range(before):
            machine.answer(next(ids), WRONG)
        machine.now += 60
        if before == 3:  # a lock that is over
            machine.answer(next(ids), RIGHT)
            machine.now += 60
        return machine

    kills = 0
    for machine in every_kill(prepared, A, text):
        kills += 1
        assert machine.answer(A, text) == ("right" if text == RIGHT else IS_WRONG)
        assert machine.judged_wrong == before + (text == WRONG)
        if text == RIGHT:
            assert machine.state.count == 0
    assert kills >= 4


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.booleans(), st.none() | st.integers(0, 9), st.booleans()),
        max_size=30,
    )
)
def test_whatever_happens_each_wrong_attempt_is_counted_once(
    events: list[tuple[int, bool, int | None, bool]],
) -> None:
    """Six prompts, one with the right PIN, repeat their attempts until an answer comes."""
    machine, ids = Machine(), new_ids()
    prompts = [(next(ids), RIGHT if number == 0 else WRONG) for number in range(6)]
    judged: dict[bytes, int] = {}
    for number, waits, steps, restarts in events:
        attempt_id, text = prompts[number]
        before = machine.judged_wrong
        answer = machine.answer(attempt_id, text, steps)
        judged[attempt_id] = judged.get(attempt_id, 0) + machine.judged_wrong - before
        assert judged[attempt_id] <= (text == WRONG)
        if answer == IS_WRONG:
            assert judged[attempt_id] == 1
            prompts[number] = (next(ids), text)
        if answer == "right":
            assert machine.state == SCHEDULE.fresh
            prompts[number] = (next(ids), text)
        machine.now += 400 * waits
        if restarts:
            machine.now = 3


def test_somebody_else_who_counts_makes_an_attempt_wrong_and_none_free() -> None:
    machine = Machine()
    with suppress(Killed):
        machine.answer(A, RIGHT, 2)  # noted, not made
    machine.state = Counters(1, 3)
    assert machine.answer(A, RIGHT) == IS_WRONG
    assert machine.state == Counters(1, 3)


def test_old_notes_let_nobody_guess_again() -> None:
    machine, ids = Machine(), new_ids()
    old = [machine.notes]
    while not machine.state.is_locked:
        machine.answer(next(ids), WRONG)
        old.append(machine.notes)
    for notes in old:
        machine.notes = notes
        assert machine.answer(next(ids), WRONG) == IS_LOCKED
    assert machine.judged_wrong == 3


def test_ids_that_were_wrong_are_forgotten_in_their_order() -> None:
    notes = AttemptNotes()
    for number in range(limits.PIN_FOUND_WRONG + 1):
        notes = notes.begun(number.to_bytes(16), 0).counted()

    assert len(notes.found_wrong) == limits.PIN_FOUND_WRONG
    assert (0).to_bytes(16) not in notes.found_wrong


def test_an_attempt_has_an_id_of_its_length() -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        verify_pin(b"short", Pin(bytearray(RIGHT)), Machine(), Machine(), SCHEDULE)


@pytest.mark.parametrize(
    "rules",
    [
        (0, (60,)),
        (limits.PIN_ATTEMPTS + 1, (60,)),
        (5, ()),
        (5, (5,)),
        (5, (60, limits.PIN_BACKOFF_SECONDS + 1)),
        (5, (60,) * (limits.PIN_ATTEMPTS + 1)),
    ],
)
def test_a_schedule_that_counters_cannot_hold_is_refused(
    rules: tuple[int, tuple[int, ...]],
) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        LockSchedule(*rules)
