"""One thread beside the loop, for work that takes longer than anybody should wait."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from keyiso.errors import ncrypt_error
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.status import Status

T = TypeVar("T")


class Background:
    """Does one thing after the other, while the loop goes on serving."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: queue.SimpleQueue[
            tuple[Callable[[], Any], Callable[[], bool], Promise[Any]]
        ] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="background", daemon=True).start()

    def run(self, work: Callable[[], T], wanted: Callable[[], bool]) -> Promise[T]:
        """Do the work in the thread; the promise is kept in the loop.

        What is not wanted any more when its turn comes is not begun: ``KEYISO_E_STALE``.
        """
        promise: Promise[T] = Promise()
        self._waiting.put((work, wanted, promise))
        return promise

    def _run(self) -> None:
        while True:
            work, wanted, promise = self._waiting.get()
            self._loop.call_soon_from_thread(_outcome(work if wanted() else _unwanted, promise))


def _unwanted() -> Any:
    raise ncrypt_error(Status.KEYISO_E_STALE, "nobody waits for it any more")


def _outcome(work: Callable[[], T], promise: Promise[T]) -> Callable[[], None]:
    """Do the work here and now, and return what tells the loop of it."""
    try:
        value = work()
    except BaseException as error:  # handed to who awaits the promise
        caught = error
        return lambda: promise.break_with(caught)
    return lambda: promise.keep(value)
