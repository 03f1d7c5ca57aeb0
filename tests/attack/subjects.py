"""Starting what is attacked."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.attack.services import LEVELS, Services
from tests.attack.subject import Subject
from tests.attack.target import Kind, Target


class Subjects:
    """Has a target of each kind, as long as it serves; what it started ends with it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[Kind, Subject] = {}
        self._services: Services | None = None

    def get(self, kind: Kind) -> Target:
        """One that may have been attacked before."""
        if kind in LEVELS:
            return self._served(kind)
        if kind not in self._running or not self._running[kind].alive:
            self._running[kind] = self._subject(kind)
        return self._running[kind]

    def new(self, kind: Kind) -> Target:
        """One of its own. Services replace by themselves what was destroyed."""
        return self._served(kind) if kind in LEVELS else self._subject(kind)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _subject(self, kind: Kind) -> Subject:
        return self._stack.enter_context(Subject(kind, self._directory()))

    def _served(self, kind: Kind) -> Target:
        if self._services is None:
            self._services = self._stack.enter_context(Services(self._directory()))
        return self._services.target(kind)

    def _directory(self) -> Path:
        # Not pytest's own one: a socket's address has 108 bytes.
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
