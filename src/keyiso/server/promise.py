"""A value that is not there yet, and coroutines that wait for it.

Small on purpose: the trustlet worker must not carry asyncio, and one kind of waiting is enough.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Promise(Generic[T]):
    """Kept once, with a value or with an exception, always in the loop's thread."""

    __slots__ = ("_error", "_kept", "_value", "_waiting")

    def __init__(self) -> None:
        self._kept = False
        self._value: T
        self._error: BaseException | None = None
        self._waiting: list[Callable[[], None]] = []

    @property
    def kept(self) -> bool:
        return self._kept

    def keep(self, value: T) -> None:
        """Give the value. Later calls do nothing: the first outcome stands."""
        if not self._kept:
            self._value = value
            self._finish()

    def break_with(self, error: BaseException) -> None:
        """Give an exception instead of a value."""
        if not self._kept:
            self._error = error
            self._finish()

    def when_kept(self, callback: Callable[[], None]) -> None:
        """Call back once the outcome is there; at once if it is already."""
        if self._kept:
            callback()
        else:
            self._waiting.append(callback)

    def result(self) -> T:
        """The value, or the exception raised. Only for a promise that is kept."""
        if self._error is not None:
            raise self._error.with_traceback(None)  # of whoever was told before
        return self._value

    def _finish(self) -> None:
        self._kept = True
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def __await__(self) -> Generator["Promise[Any]", None, T]:
        if not self._kept:
            yield self
        return self.result()


def run_coroutine(
    coroutine: Coroutine[Promise[Any], None, T], done: Callable[[Callable[[], T]], None]
) -> None:
    """Run a coroutine; whenever it waits for a promise, go on when that is kept.

    ``done`` gets a function that returns the coroutine's value or raises its exception.
    """

    def step() -> None:
        try:
            promise = coroutine.send(None)
        except StopIteration as stop:
            value = stop.value
            done(lambda: value)
        except BaseException as error:  # handed on, whatever it is: `done` raises it again
            caught = error

            def fail() -> T:
                raise caught

            done(fail)
        else:
            promise.when_kept(step)

    step()
