"""How long and how often a client tries."""

import pytest

from keyiso import limits
from keyiso.client.retry import Attempts, RetryPolicy, deadline_of
from keyiso.errors import Hop, ServiceUnavailableError
from keyiso.status import Status
from tests.unit.fake_clock import FakeClock

TROUBLE = Hop("keyiso", 4711, "ended")


def attempts(clock: FakeClock, deadline: float = 30.0, jitter: float = 1.0) -> Attempts:
    return Attempts(RetryPolicy(deadline, lambda: jitter), clock, clock.monotonic())


def try_until_the_end(tried: Attempts, clock: FakeClock, takes: float = 0.0) -> int:
    """Fail again and again; returns how often."""
    count = 0
    while True:
        clock.advance(takes)
        count += 1
        try:
            tried.again(TROUBLE, "it ended")
        except ServiceUnavailableError:
            return count


def test_the_first_trouble_is_answered_at_once(clock: FakeClock) -> None:
    """What was just restarted listens already."""
    attempts(clock).again(TROUBLE, "it ended")

    assert clock.slept == []


def test_the_pauses_grow_to_their_longest(clock: FakeClock) -> None:
    tried = attempts(clock)
    for _ in range(12):
        tried.again(TROUBLE, "it ended")

    assert clock.slept[:8] == [0.002 * 2**power for power in range(7)] + [0.25]
    assert set(clock.slept[7:]) == {0.25}


def test_many_clients_do_not_come_back_in_step(clock: FakeClock) -> None:
    """A pause is between half of its length and all of it."""
    for jitter, part in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        tried = attempts(clock, jitter=jitter)
        clock.slept.clear()
        for _ in range(4):
            tried.again(TROUBLE, "it ended")
        assert clock.slept == [0.002 * part, 0.004 * part, 0.008 * part]


def test_the_usual_jitter_differs() -> None:
    draw = RetryPolicy().jitter
    drawn = [draw() for _ in range(100)]

    assert len(set(drawn)) > 90
    assert all(0 <= one <= 1 for one in drawn)


@pytest.mark.parametrize("deadline", [0.5, 3.0, 30.0])
def test_a_client_gives_up_at_its_deadline_and_not_behind_it(
    clock: FakeClock, deadline: float
) -> None:
    begun = clock.monotonic()
    count = try_until_the_end(attempts(clock, deadline), clock)
    waited = clock.monotonic() - begun

    assert deadline - 0.25 <= waited < deadline
    assert count >= deadline / 0.25


def test_a_try_that_took_all_the_time_was_the_last(clock: FakeClock) -> None:
    assert try_until_the_end(attempts(clock), clock, takes=31) == 1


def test_with_no_time_nothing_is_tried_again(clock: FakeClock) -> None:
    """The switch that turns re-binding off."""
    tried = attempts(clock, deadline=0)

    with pytest.raises(ServiceUnavailableError):
        tried.again(TROUBLE, "it ended")
    assert clock.slept == []


def test_with_no_time_a_wait_still_ends() -> None:
    assert RetryPolicy(0).left(0.0) == RetryPolicy(0).left(100.0) == limits.DEADLINE_SECONDS


def test_what_is_left_shrinks_and_is_never_nothing() -> None:
    """A time-out of nothing would wait for ever."""
    policy = RetryPolicy()
    assert policy.left(0.0) == 30.0
    assert policy.left(29.0) == 1.0
    assert 0 < policy.left(129.0) <= 0.001


def test_a_clock_that_is_set_changes_nothing(clock: FakeClock) -> None:
    tried = attempts(clock)
    clock._time += 1e9

    tried.again(TROUBLE, "it ended")
    tried.again(TROUBLE, "it ended")


def test_the_error_says_what_happened_and_what_to_do(clock: FakeClock) -> None:
    tried = attempts(clock, deadline=0.001)

    with pytest.raises(ServiceUnavailableError, match=r"within 0.001 s: it ended") as caught:
        clock.advance(1)
        tried.again(TROUBLE, "it ended")
    assert caught.value.status == Status.KEYISO_E_SERVICE_UNAVAILABLE
    assert "keyiso status" in caught.value.action
    assert caught.value.chain == (TROUBLE,)


def test_the_error_names_every_trouble_once_in_a_row(clock: FakeClock) -> None:
    tried = attempts(clock)
    troubles = [Hop("keyiso", 1, "ended"), Hop("software-0", 2, "ended"), Hop("keyiso", 3, "gone")]
    for trouble in troubles:
        for _ in range(3):
            tried.again(trouble, "it ended")

    clock.advance(30)
    with pytest.raises(ServiceUnavailableError) as caught:
        tried.again(troubles[-1], "it ended")
    assert caught.value.chain == tuple(troubles)


def test_the_error_names_the_last_troubles_when_there_were_many(clock: FakeClock) -> None:
    tried = attempts(clock, deadline=100)
    for number in range(50):
        tried.again(Hop("keyiso", number, "ended"), "it ended")

    clock.advance(100)
    with pytest.raises(ServiceUnavailableError) as caught:
        tried.again(Hop("keyiso", 50, "ended"), "it ended")
    assert len(caught.value.chain) < limits.HOPS
    assert [hop.pid for hop in caught.value.chain][-3:] == [48, 49, 50]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        ("1.5", 1.5),
        ("240", 240.0),
        ("241", 240.0),
        ("inf", 240.0),
        ("-1", 30.0),
        ("nan", 30.0),
        ("soon", 30.0),
        ("", 30.0),
    ],
)
def test_a_deadline_that_the_environment_sets(said: str, seconds: float) -> None:
    assert deadline_of({"KEYISO_DEADLINE": said}) == seconds


def test_the_usual_deadline_is_the_documented_one() -> None:
    assert RetryPolicy().deadline == limits.DEADLINE_SECONDS == 30.0
