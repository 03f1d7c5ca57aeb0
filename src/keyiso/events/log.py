"""The local log: one JSON object a line, in files that are rotated by size."""

import contextlib
import itertools
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keyiso import limits
from keyiso.events.records import Event

FILE_BYTES: Final = 4 * 1024 * 1024
"""A file is closed at this size; with the older ones the log stays under 20 MiB."""

OLD_FILES: Final = 4


def log_paths(directory: Path) -> tuple[Path, ...]:
    """The files that the log can have, the newest first; not all of them need be there."""
    old = (directory / f"events.jsonl.{number}" for number in range(1, OLD_FILES + 1))
    return (directory / "events.jsonl", *old)


class EventLog:
    """Appends events to ``events.jsonl`` in a directory.

    Each line is written by one call, so that a process killed between two lines leaves whole
    ones. A disk that is full, or a directory that is not there, loses events, never an operation:
    ``lost`` counts them, and the next line that can be written says how many are missing before.
    """

    def __init__(self, directory: Path) -> None:
        with contextlib.suppress(OSError):  # found out, and counted, at each event
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path, *_ = self._paths = log_paths(directory)
        self.lost = 0
        self._missing = 0

    def write(self, event: Event) -> bool:
        """Append an event; False when it is lost.

        One that is recorded whatever is switched off is on the disk when this returns.
        """
        line = (json.dumps(as_dictionary(event, self._missing)) + "\n").encode("ascii")
        try:
            self._rotate_when_large()
            written = len(line) <= limits.EVENT_LINE_BYTES and self._append(
                line, durable=event.kind.always
            )
        except OSError:
            written = False
        self.lost += not written
        self._missing = 0 if written else self._missing + 1
        return written

    def _append(self, line: bytes, *, durable: bool) -> bool:
        """A whole line or nothing: half a one would spoil the next."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            whole = os.write(descriptor, line) == len(line)
            if not whole:
                os.ftruncate(descriptor, before)
            elif durable:
                os.fsync(descriptor)
            return whole
        finally:
            os.close(descriptor)

    def _rotate_when_large(self) -> None:
        try:
            if self.path.stat().st_size < FILE_BYTES:
                return
        except FileNotFoundError:
            return
        for newer, older in reversed(list(itertools.pairwise(self._paths))):
            if newer.exists():
                newer.replace(older)


def as_dictionary(event: Event, missing: int = 0) -> dict[str, object]:
    """The event as it stands in the log; ``missing`` events before it could not be written."""
    kind = event.kind
    return {
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds"),
        "provider": kind.provider,
        "event_id": kind.event_id,
        "channel": kind.channel.value,
        "level": kind.level.name.lower(),
        "task": kind.task,
        "keywords": kind.keywords,
        "message": kind.meaning,
        "uid": event.uid,
        **({"pid": event.pid} if event.pid else {}),
        **({"trace": event.trace} if event.trace else {}),
        **({"chain": [str(hop) for hop in event.chain]} if event.chain else {}),
        **event.more,
        **({"missing": missing} if missing else {}),
        "data": dict(event.values),
    }
