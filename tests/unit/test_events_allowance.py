"""One user's failures do not push everybody's records out of the log."""

from keyiso import limits
from keyiso.events.allowance import Allowance

AT_ONCE = limits.EVENTS_AT_ONCE_PER_USER
EVERY = 1 / limits.EVENTS_PER_SECOND_PER_USER


def used_up(now: float = 0.0) -> Allowance:
    """An allowance of which uid 1000 has nothing left."""
    allowance = Allowance()
    assert [allowance.take(1000, now) for _ in range(AT_ONCE)] == [0] * AT_ONCE
    return allowance


def test_so_many_at_once_and_then_none() -> None:
    allowance = used_up()

    assert allowance.take(1000, 0.0) is None
    assert allowance.take(1000, EVERY / 2) is None
    assert allowance.suppressed == 2


def test_what_was_left_out_is_told_with_the_next_record() -> None:
    allowance = used_up()
    allowance.take(1000, 0.0)
    allowance.take(1000, 0.0, count=40)

    assert allowance.take(1000, EVERY) == 41
    assert allowance.take(1000, 2 * EVERY) == 0
    assert allowance.suppressed == 41


def test_another_user_has_an_allowance_of_his_own() -> None:
    allowance = used_up()

    assert allowance.take(1001, 0.0) == 0


def test_in_the_long_run_it_is_so_many_a_second() -> None:
    allowance = used_up()
    seconds = 1000
    recorded = sum(
        allowance.take(1000, tenth / 10) is not None for tenth in range(1, 10 * seconds + 1)
    )

    assert abs(recorded - seconds * limits.EVENTS_PER_SECOND_PER_USER) <= 1


def test_who_was_silent_has_no_more_than_at_first() -> None:
    allowance = used_up()
    later = 1e6
    recorded = [allowance.take(1000, later) for _ in range(2 * AT_ONCE)]

    assert recorded == [0] * AT_ONCE + [None] * AT_ONCE


def test_the_users_that_are_remembered_are_bounded() -> None:
    allowance = used_up()
    for uid in range(2000, 2000 + limits.EVENT_USERS - 1):
        allowance.take(uid, 0.0)
    assert allowance.take(1000, 0.0) is None
    for uid in range(10_000, 10_000 + limits.EVENT_USERS):
        allowance.take(uid, 0.0)

    assert len(allowance._users) == limits.EVENT_USERS
    assert allowance.take(1000, 0.0) == 0


def test_an_allowance_may_be_one_in_a_while() -> None:
    allowance = Allowance(1, 1 / limits.LOST_INDEX_SECONDS)
    times = [part * limits.LOST_INDEX_SECONDS for part in (0, 0.1, 0.9, 1.1, 1.2)]

    assert [allowance.take(1000, now) for now in times] == [0, None, None, 2, None]
