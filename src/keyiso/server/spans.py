"""What is done for the calls whose callers want to know (`Call.tell`).

Nothing is written anywhere for it: what a service and those that it asked did goes back with the
answer, to who asked.
"""

import weakref
from typing import Final

import msgspec

from keyiso import limits
from keyiso.clock import Clock
from keyiso.errors import Hop
from keyiso.wire.messages import Span

_DIGITS: Final = 4
"""Tenths of milliseconds. What is finer would time the use of a private key better than its user
can from outside."""


class Telling:
    """What is done for one call, from now on."""

    __slots__ = ("__weakref__", "_began", "_clock", "_told")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()
        self._told: list[Span] = []

    def add(self, spans: tuple[Span, ...]) -> None:
        """What a service told that was asked for the sake of the call. Too much is left out."""
        for span in spans[: limits.SPANS - 1 - len(self._told)]:
            if span.depth + 1 < limits.HOPS:
                self._told.append(msgspec.structs.replace(span, depth=span.depth + 1))

    def spans(self, own: Hop, status: int) -> tuple[Span, ...]:
        """Everything, with what this process did."""
        seconds = round(self._clock.monotonic() - self._began, _DIGITS)
        return Span(own.service, own.pid, own.function, seconds, status), *self._told


class Tellings:
    """The calls of one service that are told of, by their trace: what it asks for the sake of such
    a call has the same trace. An entry lasts as long as somebody has the `Telling`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_trace: weakref.WeakValueDictionary[str, Telling] = weakref.WeakValueDictionary()

    def begin(self, trace: str) -> Telling:
        """Tell of a call. Of several calls with one trace at a time, the first one's answer tells
        what was asked for all of them.
        """
        telling = Telling(self._clock)
        if trace:
            self._by_trace.setdefault(trace, telling)
        return telling

    def of(self, trace: str) -> Telling | None:
        """Where to add what is told for a trace, if anybody wants to know."""
        return self._by_trace.get(trace)
