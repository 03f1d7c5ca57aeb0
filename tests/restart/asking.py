"""Asking in threads of this process, or in forked children of it, all at the same time."""

import contextlib
import os
import pickle
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyiso.client.connection import Connection
from tests.instance import DEADLINE_SECONDS

LONGEST_SECONDS = 2 * DEADLINE_SECONDS
"""An operation has a deadline of 30 s; one that has not ended by now never will."""

_GO = b"!"


@dataclass
class Asked:
    """How an operation went. Times are those of the monotonic clock."""

    begun: float = 0.0
    ended: float = 0.0
    answer: Any = None
    error: BaseException | None = None
    requests: list[tuple[float, float]] = field(default_factory=list)
    """When each request was sent, and when its wait was over."""

    def in_flight(self, since: float, until: float) -> bool:
        """One request was under way from the one instant to the other."""
        return any(sent <= since and until <= over for sent, over in self.requests)


class Thread:
    """Asks in a thread. ``beginning`` is called at the last instant before."""

    def __init__(self, ask: Callable[[], Any], beginning: Callable[[], None]) -> None:
        self._asked = Asked()
        self._go = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ask, beginning), daemon=True)
        self._thread.start()

    def go(self) -> None:
        self._go.set()

    def outcome(self) -> Asked:
        self._thread.join(LONGEST_SECONDS)
        assert not self._thread.is_alive(), "an operation does not end"
        return self._asked

    def _run(self, ask: Callable[[], Any], beginning: Callable[[], None]) -> None:
        self._go.wait()
        _ask(ask, beginning, self._asked)


class Child:
    """The same in a forked child, which has the handles of this process."""

    def __init__(self, ask: Callable[[], Any], beginning: Callable[[], None]) -> None:
        self._ours, theirs = socket.socketpair()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _answer(theirs, ask, beginning)
            finally:
                os._exit(0)
        theirs.close()

    def go(self) -> None:
        self._ours.sendall(_GO)

    def outcome(self) -> Asked:
        try:
            readable, _, _ = select.select([self._ours], [], [], LONGEST_SECONDS)
            assert readable, "an operation in a forked child does not end"
            with self._ours.makefile("rb") as stream:
                asked: Asked = pickle.load(stream)
                return asked
        finally:
            self._ours.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


Asker = type[Thread] | type[Child]


def _answer(parent: socket.socket, ask: Callable[[], Any], beginning: Callable[[], None]) -> None:
    parent.recv(len(_GO))
    asked = Asked()
    _ask(ask, beginning, asked)
    if asked.error is not None:
        asked.error = AssertionError(f"in a forked child: {asked.error!r}")
    parent.sendall(pickle.dumps(asked))


def _ask(ask: Callable[[], Any], beginning: Callable[[], None], asked: Asked) -> None:
    _asking.requests = asked.requests
    beginning()
    asked.begun = time.monotonic()
    try:
        asked.answer = ask()
    except BaseException as error:  # raised again by whom it concerns
        asked.error = error
    asked.ended = time.monotonic()


_asking = threading.local()
"""The requests of what the thread asks."""


def note_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every request of this process, and of its children, note when it was under way."""

    def noting(ask: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **options: Any) -> Any:
            sent = time.monotonic()
            try:
                return ask(*arguments, **options)
            finally:
                getattr(_asking, "requests", []).append((sent, time.monotonic()))

        return noted

    for name in ("greet", "take"):
        monkeypatch.setattr(Connection, name, noting(getattr(Connection, name)))
