"""Reading the log, also while it is written and rotated: no line is lost or read twice.

A file is known by its inode, and stays open as long as it may have something new: so its inode
cannot become another file's. Files are looked for from the newest to the oldest, the way in which
rotation moves them, so that none is missed in between.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from keyiso import limits
from keyiso.events.log import log_paths


class Record(msgspec.Struct, frozen=True):
    """One event, as far as every line of the log has it."""

    time: datetime
    event_id: int
    channel: str
    level: str
    message: str
    uid: int
    data: dict[str, str | int]
    """The manifest's fields."""
    pid: int = 0
    """0 where it is not known."""
    count: int = 1
    """How many equal failures it stands for."""


class LogReader:
    """Reads the files of one log, the oldest first."""

    def __init__(self, directory: Path) -> None:
        """Raises ``PermissionError`` when this user may not read the log."""
        self.damaged = 0
        """Lines that are no events, and were skipped."""
        self.gaps = 0
        """How often the log was rotated away before it was read, or replaced."""
        self._paths = log_paths(directory)
        self._files = self._found()

    def close(self) -> None:
        for file in self._files:
            file.close()

    def skip(self) -> None:
        """Read only what comes from now on."""
        for file in self._files:
            file.skip()

    def read(self) -> Iterator[tuple[Record, bytes]]:
        """Every event that was not read yet, and can be read now, with its line."""
        before = self._files
        if not self._still_newest():
            self._files = self._found(before)
            if before and before[-1] not in self._files:
                self.gaps += 1
        # A file that is not the newest any more is not written to either: this is all of it.
        for file in before:
            yield from self._records(file)
        for file in self._files:
            if file not in before:
                yield from self._records(file)
        for file in before:
            if file not in self._files:
                file.close()

    def _still_newest(self) -> bool:
        for path in self._paths:  # the first one is missing in the middle of a rotation
            with contextlib.suppress(FileNotFoundError):
                found = os.stat(path)
                newest = self._files[-1].identity if self._files else None
                return newest == (found.st_dev, found.st_ino)
        return True  # there is no log yet

    def _found(self, known: "tuple[_File, ...]" = ()) -> "tuple[_File, ...]":
        """The files that are there now, the oldest first."""
        found: list[_File] = []
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                file = _File(path)
                same = next((other for other in (*known, *found) if other == file), None)
                if same is not None or not file.regular:
                    file.close()
                if same is None and file.regular:
                    found.append(file)
                elif same is not None and same not in found:
                    found.append(same)
        return tuple(reversed(found))

    def _records(self, file: "_File") -> Iterator[tuple[Record, bytes]]:
        for line in file.lines():
            try:
                yield _DECODER.decode(line), line
            except (ValueError, RecursionError):
                self.damaged += 1


class _File:
    """One file of the log, and how far it was read."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(self._descriptor)
        self.regular = stat.S_ISREG(found.st_mode)
        self.identity = found.st_dev, found.st_ino
        self._offset = 0
        self._in_long_line = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _File) and other.identity == self.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def close(self) -> None:
        os.close(self._descriptor)

    def skip(self) -> None:
        """Go on after the last whole line."""
        for _ in self.lines():
            pass

    def lines(self) -> Iterator[bytes]:
        """The whole lines that were not read yet; an empty one for one that is too long."""
        if os.fstat(self._descriptor).st_size < self._offset:
            self._offset = 0  # somebody emptied it
        while data := os.pread(self._descriptor, limits.EVENT_LINE_BYTES, self._offset):
            *lines, rest = data.split(b"\n")
            if lines:
                self._offset += len(data) - len(rest)
                for line in lines:
                    yield b"" if self._in_long_line else line
                    self._in_long_line = False
            elif len(data) == limits.EVENT_LINE_BYTES:
                self._offset += len(data)
                self._in_long_line = True
            else:
                return  # the last line is not whole yet


_DECODER: Final = msgspec.json.Decoder(Record)
