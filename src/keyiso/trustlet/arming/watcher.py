"""The thread of a worker that traces its guardian.

A guardian that nobody traces can be taken over by a debugger and made to let the worker go. One
that has a tracer cannot get another. The two tracers hold each other: when either process ends,
the kernel kills the other one (PTRACE_O_EXITKILL).
"""

import os
import queue
import threading
from typing import Final

from keyiso.trustlet.arming.kernel import may_not_trace
from keyiso.trustlet.arming.ptrace import resume, seize, wait_for

EXIT_GUARDIAN: Final = 71
"""The guardian did something that it never does."""


class Watcher:
    """Started before arming, as no thread can be later; begins when it is told to."""

    def __init__(self, guardian: int) -> None:
        self._guardian = guardian
        self._begin = threading.Lock()
        self._begin.acquire()
        self._outcome: queue.SimpleQueue[OSError | int] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="watcher", daemon=True).start()

    def begin(self) -> int:
        """Become the guardian's tracer. Returns the id of the thread that is.

        Raises `VbsUnavailableError` when the guardian has another one.
        """
        self._begin.release()
        outcome = self._outcome.get()
        if isinstance(outcome, int):
            return outcome
        raise may_not_trace("the guardian")

    def _run(self) -> None:
        self._begin.acquire()
        try:
            seize(self._guardian)
        except OSError as error:
            self._outcome.put(error)
            return
        self._outcome.put(threading.get_native_id())
        try:
            self._watch()
        finally:
            os._exit(EXIT_GUARDIAN)

    def _watch(self) -> None:
        """Let the guardian go on after each stop, until it does what it never does."""
        while wait_for(self._guardian).harmless:
            resume(self._guardian)
