"""``racer.py GUARDIAN WORKER``: kills a guardian, and is the tracer of its worker's threads before
they have died of that. Prints the registers with which each thread ended, in hexadecimal.

A process of its own, which does nothing else at that moment. It takes the worker's processor away
from it: the worker is stopped wherever it was, and cannot die before it gets the processor back.
"""

import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path

from keyiso.trustlet.arming.process import threads_of
from keyiso.trustlet.arming.ptrace import WALL, registers_of, resume
from tests.attack.tracing import LIBC, SEIZE, vector_registers

SECONDS = 1.0
"""For the race. To wait longer would be no use, and would keep the processor."""

_TRACEEXIT = 0x40
_EVENT_EXIT = 6


def main(guardian: int, worker: int) -> None:
    threads = threads_of(worker)
    _take_processor_of(threads)
    _wait_for_work(worker)
    os.kill(guardian, signal.SIGKILL)
    for thread in _seized(threads):
        with contextlib.suppress(OSError):
            _, status = os.waitpid(thread, WALL)
            if status >> 16 == _EVENT_EXIT:
                print((bytes(registers_of(thread)) + vector_registers(thread)).hex(), flush=True)
                resume(thread)


def _take_processor_of(threads: tuple[int, ...]) -> None:
    """Share one processor with these threads, and come before them; the guardian has the others."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) > 1:
        for thread in (0, *threads):
            os.sched_setaffinity(thread, processors[:1])
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def _wait_for_work(worker: int) -> None:
    """Wake up while the worker is in the midst of something: it wants the processor."""
    stat = Path(f"/proc/{worker}/task/{worker}/stat")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(random.uniform(0.001, 0.003))
        if stat.read_text().rpartition(")")[2].split()[0] == "R":
            return


def _seized(threads: tuple[int, ...]) -> list[int]:
    """The threads that came free and were seized. The bare call, and no exception: there is little
    time.
    """
    left = set(threads)
    end = time.monotonic() + SECONDS
    while left and time.monotonic() < end:
        for thread in tuple(left):
            if LIBC.ptrace(SEIZE, thread, None, _TRACEEXIT) == 0:
                left.discard(thread)
    return [thread for thread in threads if thread not in left]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
