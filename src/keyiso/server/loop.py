"""One thread, epoll, timers, and a door for other threads."""

import contextlib
import heapq
import itertools
import os
import select
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from keyiso.clock import Clock
from keyiso.server.spans import Tellings

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT

_READY_AT_ONCE: Final = 64
"""Descriptors that one round serves; the kernel names the others first in the next one."""

_ENDED: Final = select.EPOLLHUP | select.EPOLLERR
"""Comes unasked; who reads or writes finds out what it is."""

Ready = Callable[[int], None]
"""Called with the events (READ, WRITE) that a descriptor is ready for."""


class Timer:
    """A call that will be made; `cancel` unmakes it."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], None] | None) -> None:
        self._action = action

    @property
    def pending(self) -> bool:
        """The call will still be made."""
        return self._action is not None

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
        self.tellings = Tellings(clock)
        """The calls that are worked on and told of, for all connections and links."""
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[int, Ready]] = {}
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
        descriptor = _descriptor(what)
        self._epoll.register(descriptor, events)
        self._watched[descriptor] = events, ready

    def change(self, what: Any, events: int, ready: Ready) -> None:
        """Watch for other events."""
        descriptor = _descriptor(what)
        self._epoll.modify(descriptor, events)
        self._watched[descriptor] = events, ready

    def forget(self, what: Any) -> None:
        """Watch no more. Call it before the descriptor is closed."""
        descriptor = _descriptor(what)
        self._epoll.unregister(descriptor)
        del self._watched[descriptor]

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
        patience = self._fire_timers()
        while not self._stopped:
            found = self._epoll.poll(patience, _READY_AT_ONCE)
            for descriptor, events in found:
                # Who was told before in the same round may have forgotten this descriptor, and
                # even watch another one of its number: that one may find nothing to do.
                watched = self._watched.get(descriptor)
                if watched is not None:
                    wanted, ready = watched
                    ready(wanted if events & _ENDED else events)
                    if len(found) > 1:
                        self._fire_timers()  # a heartbeat must not wait for a thousand clients
            for _ in range(len(self._soon)):
                self._soon.popleft()()
            patience = self._fire_timers()

    def close(self) -> None:
        """Let go of the loop's own descriptors."""
        self._epoll.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    def _fire_timers(self) -> float | None:
        """Make the calls that are due. Returns how long the next round may wait for events."""
        timers = self._timers
        now = self.clock.monotonic() if timers else 0.0
        while timers and timers[0][0] <= now:
            heapq.heappop(timers)[2].fire()
            now = self.clock.monotonic()
        if self._soon:
            return 0.0
        return timers[0][0] - now if timers else None

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wake-ups, so the loop will wake
            self._wake_sender.send(b"w")

    def _woken(self, events: int) -> None:
        os.read(self._wake_receiver.fileno(), 4096)
        while self._from_threads:
            self._from_threads.popleft()()


def _descriptor(what: Any) -> int:
    return what if isinstance(what, int) else what.fileno()
