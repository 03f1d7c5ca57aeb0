"""A running instance whose events are waited for, and read from its log."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from keyiso.events.reader import LogReader
from tests.instance import RunningInstance
from tests.journal import JournalSocket

T = TypeVar("T")

DEADLINE_SECONDS = 120

Lines = list[dict[str, Any]]


class EventInstance(RunningInstance):
    """Its journal is a socket here: what it sends says that there is something new to read."""

    def __init__(self, home: Path, journal: JournalSocket) -> None:
        super().__init__(home, ("--journal", os.fspath(journal.path)))
        self.journal = journal
        self.sent: list[bytes] = []
        """What the journal has got."""

    def events(self, **wanted: Any) -> Lines:
        """What the log has, of an event id, a trace and so on; ``name`` is the key's."""
        reader = LogReader(self.instance.events)
        lines = [msgspec.json.decode(line, type=dict[str, Any]) for _, line in reader.read()]
        reader.close()
        assert reader.damaged == 0
        name = wanted.pop("name", None)
        return [
            line
            for line in lines
            if all(line.get(field) == value for field, value in wanted.items())
            and name in (None, line["data"].get("KeyName"))
        ]

    def until(self, found: Callable[[], T]) -> T:
        """What is found, as soon as it is something."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (result := found()):
            left = deadline - time.monotonic()
            assert left > 0, f"not found within {DEADLINE_SECONDS} s: {self.events()[-20:]}"
            self.sent += self.journal.wait(min(left, 1))
        return result

    def event(self, **wanted: Any) -> dict[str, Any]:
        """The event that is there, or will be."""
        return self.until(lambda: self.events(**wanted))[-1]


@contextmanager
def event_instance(home: Path) -> Iterator[EventInstance]:
    """A running instance; whose journal lies beside its home."""
    journal = JournalSocket(home.with_name("journal"))
    running = EventInstance(home, journal)
    running.start()
    try:
        yield running
    finally:
        running.end()
        journal.close()
