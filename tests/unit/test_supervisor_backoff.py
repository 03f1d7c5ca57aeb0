"""How long a service waits for its next start."""

import pytest

from keyiso.supervisor.backoff import (
    FIRST_SECONDS,
    FREE_RESTARTS,
    LONG_LIFE_SECONDS,
    LONGEST_SECONDS,
    Backoff,
)


def after(*lifetimes: float) -> Backoff:
    backoff = Backoff()
    for lifetime in lifetimes:
        backoff = backoff.after(lifetime)
    return backoff


def test_the_first_kills_are_answered_at_once() -> None:
    """Somebody who kills a service now and then does not make it slow."""
    waits = [after(*[0.1] * lives).seconds for lives in range(FREE_RESTARTS + 1)]

    assert waits == [0.0] * (FREE_RESTARTS + 1)


def test_a_service_that_ends_again_and_again_waits_twice_as_long_each_time() -> None:
    waits = [after(*[0.1] * (FREE_RESTARTS + more)).seconds for more in range(1, 8)]

    assert waits == [FIRST_SECONDS * 2**power for power in range(7)]


def test_the_wait_has_an_end() -> None:
    assert after(*[0.0] * 20).seconds == LONGEST_SECONDS
    assert after(*[0.0] * 10_000).seconds == LONGEST_SECONDS


@pytest.mark.parametrize("before", [0, 3, 5, 100])
def test_a_long_life_begins_the_count_anew(before: int) -> None:
    assert after(*[0.1] * before, LONG_LIFE_SECONDS) == Backoff()
    assert after(*[0.1] * before, LONG_LIFE_SECONDS - 0.001).short_lives == before + 1


def test_a_life_of_no_time_is_a_short_one() -> None:
    assert after(0.0).short_lives == 1
