"""The local log: one JSON object a line, in files that are rotated by size."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keyiso.events.records import PROVIDER, Event

FILE_BYTES: Final = 4 * 1024 * 1024
"""A file is closed at this size; with the older ones the log stays under 20 MiB."""

OLD_FILES: Final = 4


class EventLog:
    """Appends events to ``events.jsonl`` in a directory.

    Each line is written by one call, so that a process killed between two lines leaves whole
    ones. A disk that is full loses events, never an operation: ``lost`` counts them.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / "events.jsonl"
        self.lost = 0

    def write(self, event: Event) -> None:
        """Append an event."""
        line = json.dumps(as_dictionary(event), ensure_ascii=True) + "\n"
        try:
            self._rotate_when_large()
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                self._append(descriptor, line.encode("ascii"))
            finally:
                os.close(descriptor)
        except OSError:
            self.lost += 1

    def _append(self, descriptor: int, line: bytes) -> None:
        """A whole line or nothing: half a one would spoil the next."""
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, line) < len(line):
            os.ftruncate(descriptor, before)
            self.lost += 1

    def _rotate_when_large(self) -> None:
        try:
            if self.path.stat().st_size < FILE_BYTES:
                return
        except FileNotFoundError:
            return
        for number in range(OLD_FILES, 0, -1):
            older = self.path.with_suffix(f".jsonl.{number}")
            newer = self.path.with_suffix(f".jsonl.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.replace(older)


def as_dictionary(event: Event) -> dict[str, object]:
    """The event as it stands in the log."""
    return {
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds"),
        "provider": PROVIDER,
        "event_id": event.kind.event_id,
        "channel": event.kind.channel.value,
        "level": event.kind.level.name.lower(),
        "task": event.kind.task,
        "message": event.kind.meaning,
        "uid": event.uid,
        **({"trace": event.trace} if event.trace else {}),
        **({"chain": [str(hop) for hop in event.chain]} if event.chain else {}),
        "data": dict(event.values),
    }
