"""Running a loop round by round, with a script that goes on once in every round."""

import os
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from keyiso.server.loop import READ, Loop

Script = Generator[None, None, None]

MOST_ROUNDS = 10_000


def play(loop: Loop, script: Script) -> None:
    """Run the loop until the script ends. What the script raises comes out here.

    Something is always ready, so that the loop never waits: a script that waits in vain for its
    condition fails in `until`, and does not hang.
    """
    ready, other = socket.socketpair()
    other.send(b"always")

    def go_on(events: int) -> None:
        try:
            next(script)
        except StopIteration:
            loop.stop()

    loop.watch(ready, READ, go_on)
    try:
        loop.run()
    finally:
        loop.forget(ready)
        ready.close()
        other.close()


def rounds(count: int) -> Script:
    """Let the loop go round so often."""
    for _ in range(count):
        yield


class Until:
    """``yield from Until(lambda: done)``: let the loop go round until something is true."""

    def __init__(self, condition: Callable[[], object]) -> None:
        self._condition = condition

    def __iter__(self) -> Iterator[None]:
        for _ in range(MOST_ROUNDS):
            if self._condition():
                return
            yield
        raise AssertionError(f"not true after {MOST_ROUNDS} rounds")


def open_descriptors() -> set[int]:
    """The descriptors of this process, for noticing one that leaks."""
    listed = map(int, os.listdir("/proc/self/fd"))
    return {descriptor for descriptor in listed if is_open(descriptor)}  # not that of listing


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@contextmanager
def nothing_left_open() -> Iterator[None]:
    """Every descriptor that is opened inside is closed inside."""
    before = open_descriptors()
    yield
    assert open_descriptors() - before == set()
