"""One thread, one selector, timers, and a door for other threads."""

import contextlib
import heapq
import itertools
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from keyiso.clock import Clock

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE

Ready = Callable[[int], None]
"""Called with the events (READ, WRITE) that a descriptor is ready for."""


class Timer:
    """A call that will be made; `cancel` unmakes it."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self._action = None

    def fire(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


class Loop:
    """The loop of one service. Not thread-safe but for `call_soon_from_thread` and `stop`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._soon: deque[Callable[[], None]] = deque()
        self._from_threads: deque[Callable[[], None]] = deque()
        self._stopped = False
        self._wake_receiver, self._wake_sender = socket.socketpair()
        for end in (self._wake_receiver, self._wake_sender):
            end.setblocking(False)
        self.watch(self._wake_receiver, READ, self._woken)

    def watch(self, what: Any, events: int, ready: Ready) -> None:
        """Call ``ready`` when the descriptor (or object with one) is ready for these events."""
        self._selector.register(what, events, ready)

    def change(self, what: Any, events: int, ready: Ready) -> None:
        """Watch for other events."""
        self._selector.modify(what, events, ready)

    def forget(self, what: Any) -> None:
        """Watch no more. Call it before the descriptor is closed."""
        self._selector.unregister(what)

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call once, after so many seconds."""
        timer = Timer(action)
        due = self.clock.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._order), timer))
        return timer

    def call_soon(self, action: Callable[[], None]) -> None:
        """Call in the next round, after everybody who is ready has had a turn."""
        self._soon.append(action)

    def call_soon_from_thread(self, action: Callable[[], None]) -> None:
        """Call in the loop's thread; callable from any thread and from a signal handler."""
        self._from_threads.append(action)
        self._wake()

    def stop(self) -> None:
        """Return from `run` before the next wait."""
        self._stopped = True
        self._wake()

    def run(self) -> None:
        """Serve until `stop`."""
        while not self._stopped:
            for key, events in self._selector.select(self._patience()):
                key.data(events)
            for _ in range(len(self._soon)):
                self._soon.popleft()()
            self._fire_timers()

    def close(self) -> None:
        """Let go of the loop's own descriptors."""
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _patience(self) -> float | None:
        if self._soon:
            return 0.0
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - self.clock.monotonic())

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.clock.monotonic():
            heapq.heappop(self._timers)[2].fire()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wake-ups, so the loop will wake
            self._wake_sender.send(b"w")

    def _woken(self, events: int) -> None:
        os.read(self._wake_receiver.fileno(), 4096)
        while self._from_threads:
            self._from_threads.popleft()()
