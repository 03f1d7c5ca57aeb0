"""The loop: what is ready, what is due, and what other threads ask for."""

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from keyiso.clock import SystemClock
from keyiso.server.loop import READ, WRITE, Loop
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, nothing_left_open, play, rounds

GUARD_SECONDS = 60


@pytest.fixture
def real_loop() -> Iterator[Loop]:
    """A loop that waits as a service's does, but not for ever."""
    made = Loop(SystemClock())
    made.call_later(GUARD_SECONDS, lambda: pytest.fail("the loop was not woken"))
    yield made
    made.close()


class WatchedEpoll:
    """Tells that a loop begins to wait, and how often it did."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self.waits = 0
        self._epoll = select.epoll()

    def poll(self, *arguments: Any) -> Any:
        self.waits += 1
        self.waiting.set()
        return self._epoll.poll(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


@pytest.fixture
def watched_epoll(monkeypatch: pytest.MonkeyPatch) -> WatchedEpoll:
    """The epoll of the loop that is made in this test."""
    watched = WatchedEpoll()
    monkeypatch.setattr(select, "epoll", lambda: watched)
    return watched


@pytest.fixture
def pipe() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


# --- timers ------------------------------------------------------------------------------------


def test_timers_fire_in_the_order_in_which_they_are_due(loop: Loop, clock: FakeClock) -> None:
    fired: list[str] = []
    for name, seconds in (("third", 3.0), ("first", 0.5), ("fourth", 3.5), ("second", 1.0)):
        loop.call_later(seconds, lambda name=name: fired.append(name))  # type: ignore[misc]

    def script() -> Script:
        clock.advance(10)
        yield from rounds(2)

    play(loop, script())

    assert fired == ["first", "second", "third", "fourth"]


def test_timers_of_one_time_fire_in_the_order_in_which_they_were_made(
    loop: Loop, clock: FakeClock
) -> None:
    fired: list[int] = []
    for number in range(20):
        loop.call_later(1, lambda number=number: fired.append(number))  # type: ignore[misc]

    def script() -> Script:
        clock.advance(1)
        yield from rounds(2)

    play(loop, script())

    assert fired == list(range(20))


def test_a_timer_fires_when_it_is_due_and_once(loop: Loop, clock: FakeClock) -> None:
    fired: list[float] = []
    loop.call_later(5, lambda: fired.append(clock.monotonic()))

    def script() -> Script:
        yield from rounds(3)
        clock.advance(4.999)
        yield from rounds(3)
        assert fired == []
        clock.advance(0.001)
        yield from rounds(3)
        assert len(fired) == 1
        clock.advance(100)
        yield from rounds(3)
        assert len(fired) == 1

    play(loop, script())


def test_a_cancelled_timer_does_not_fire(loop: Loop, clock: FakeClock) -> None:
    fired: list[str] = []
    cancelled = loop.call_later(1, lambda: fired.append("cancelled"))
    loop.call_later(1, lambda: fired.append("kept"))
    cancelled.cancel()
    cancelled.cancel()

    def script() -> Script:
        clock.advance(2)
        yield from rounds(2)

    play(loop, script())

    assert fired == ["kept"]


def test_a_timer_may_cancel_another_that_is_due_too(loop: Loop, clock: FakeClock) -> None:
    fired: list[str] = []
    loop.call_later(1, lambda: victim.cancel())
    victim = loop.call_later(2, lambda: fired.append("cancelled"))

    def script() -> Script:
        clock.advance(3)
        yield from rounds(2)

    play(loop, script())

    assert fired == []


def test_a_timer_may_make_another(loop: Loop, clock: FakeClock) -> None:
    fired: list[str] = []

    def first() -> None:
        fired.append("first")
        loop.call_later(1, lambda: fired.append("second"))

    loop.call_later(1, first)

    def script() -> Script:
        clock.advance(1)
        yield from rounds(2)
        assert fired == ["first"]
        clock.advance(1)
        yield from rounds(2)

    play(loop, script())

    assert fired == ["first", "second"]


def test_the_loop_wakes_for_a_timer(real_loop: Loop) -> None:
    """Nothing else happens, so only the timer can end the wait."""
    real_loop.call_later(0.001, real_loop.stop)

    real_loop.run()


# --- descriptors -------------------------------------------------------------------------------


def test_a_handler_is_told_what_its_descriptor_is_ready_for(
    loop: Loop, pipe: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pipe
    seen: list[int] = []
    loop.watch(ours, READ | WRITE, seen.append)

    def script() -> Script:
        yield from rounds(2)
        assert set(seen) == {WRITE}
        theirs.send(b"x")
        seen.clear()
        yield from rounds(2)
        assert set(seen) == {READ | WRITE}

    play(loop, script())


def test_watching_can_be_changed_and_ended(
    loop: Loop, pipe: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pipe
    theirs.send(b"x")
    seen: list[str] = []
    loop.watch(ours, READ, lambda events: seen.append("first"))

    def script() -> Script:
        yield from rounds(2)
        assert set(seen) == {"first"}
        loop.change(ours, READ, lambda events: seen.append("second"))
        seen.clear()
        yield from rounds(2)
        assert set(seen) == {"second"}
        loop.forget(ours)
        seen.clear()
        yield from rounds(2)
        assert seen == []

    play(loop, script())


def test_who_is_forgotten_in_a_round_is_not_told_in_it(loop: Loop) -> None:
    """Whichever of the two is told first forgets the other, which was ready in the same round."""
    first, second = socket.socketpair()
    told: list[socket.socket] = []
    for one, other in ((first, second), (second, first)):

        def ready(events: int, one: socket.socket = one, other: socket.socket = other) -> None:
            told.append(one)
            loop.forget(other)
            loop.change(one, 0, lambda events: None)

        loop.watch(one, WRITE, ready)

    with first, second:
        play(loop, rounds(3))

    assert len(told) == 1


def test_an_end_is_told_as_what_is_watched(
    loop: Loop, pipe: tuple[socket.socket, socket.socket]
) -> None:
    """The kernel says that a connection ended to who does not ask for it, too."""
    ours, theirs = pipe
    seen: list[int] = []
    loop.watch(ours, WRITE, seen.append)
    theirs.close()

    play(loop, rounds(2))

    assert set(seen) == {WRITE}


# --- other threads -----------------------------------------------------------------------------


def test_a_call_from_another_thread_is_made_in_the_loops_thread(real_loop: Loop) -> None:
    made_in: list[threading.Thread] = []

    def action() -> None:
        made_in.append(threading.current_thread())
        real_loop.stop()

    thread = threading.Thread(target=lambda: real_loop.call_soon_from_thread(action))
    real_loop.call_later(0, thread.start)
    real_loop.run()
    thread.join()

    assert made_in == [threading.current_thread()]


def test_calls_of_a_thread_are_made_in_their_order_and_none_is_lost(real_loop: Loop) -> None:
    """More than the wake-up socket holds: a full one wakes as well."""
    made: list[int] = []
    count = 5_000

    def ask() -> None:
        for number in range(count):
            real_loop.call_soon_from_thread(lambda number=number: made.append(number))  # type: ignore[misc]
        real_loop.call_soon_from_thread(real_loop.stop)

    thread = threading.Thread(target=ask)
    real_loop.call_later(0, thread.start)
    real_loop.run()
    thread.join()

    assert made == list(range(count))


def test_calls_before_the_loop_runs_are_made_however_many_they_are(real_loop: Loop) -> None:
    """The loop's own thread may ask too, and must not wait for itself."""
    made: list[str] = []
    for _ in range(5_000):
        real_loop.call_soon_from_thread(lambda: made.append("early"))
    real_loop.call_soon_from_thread(real_loop.stop)

    real_loop.run()

    assert len(made) == 5_000


def test_a_signal_handler_may_end_the_wait(real_loop: Loop) -> None:
    before = signal.signal(
        signal.SIGUSR1, lambda number, frame: real_loop.call_soon_from_thread(real_loop.stop)
    )
    try:
        real_loop.call_later(0, lambda: os.kill(os.getpid(), signal.SIGUSR1))
        real_loop.run()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_stop_from_another_thread_ends_the_wait(
    watched_epoll: WatchedEpoll, real_loop: Loop
) -> None:
    def stop() -> None:
        assert watched_epoll.waiting.wait(GUARD_SECONDS)
        real_loop.stop()

    thread = threading.Thread(target=stop)
    thread.start()
    real_loop.run()
    thread.join()


def test_a_wake_up_wakes_once(watched_epoll: WatchedEpoll, real_loop: Loop) -> None:
    """A loop that nobody asks for anything takes no time."""
    real_loop.call_soon_from_thread(lambda: None)
    real_loop.call_later(0.02, real_loop.stop)
    real_loop.run()

    assert watched_epoll.waits < 10


# --- turns -------------------------------------------------------------------------------------


def test_a_call_of_the_next_round_waits_until_everybody_had_a_turn(
    loop: Loop, pipe: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pipe
    theirs.send(b"x")
    turns: list[str] = []

    def again() -> None:
        turns.append("soon")
        loop.call_soon(again)

    loop.watch(ours, READ, lambda events: turns.append("ready"))
    loop.call_soon(again)

    def script() -> Script:
        yield from rounds(5)

    play(loop, script())

    assert turns[:8] == ["ready", "soon"] * 4


def test_the_loop_does_not_wait_while_there_is_a_call_for_the_next_round(real_loop: Loop) -> None:
    real_loop.call_soon(real_loop.stop)

    real_loop.run()


def test_a_closed_loop_leaves_no_descriptor() -> None:
    with nothing_left_open():
        Loop(FakeClock()).close()


def test_a_timer_that_is_due_does_not_wait_for_everybody_who_is_ready(
    loop: Loop, clock: FakeClock
) -> None:
    """A thousand clients may be ready at once, and a service that beats too late is killed."""
    order: list[str] = []
    pairs = [socket.socketpair() for _ in range(3)]
    for ours, theirs in pairs:
        theirs.send(b"x")

        def ready(events: int, ours: socket.socket = ours) -> None:
            ours.recv(1)
            order.append("client")
            clock.advance(1)
            if order.count("client") == 3:
                loop.stop()

        loop.watch(ours, READ, ready)
    loop.call_later(1.5, lambda: order.append("timer"))
    loop.run()
    for ours, theirs in pairs:
        loop.forget(ours)
        ours.close()
        theirs.close()

    assert order == ["client", "client", "timer", "client"]
