"""The store as the KeyIso service's loop uses it: reads at once, changes as promises."""

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.status import Status
from keyiso.store.keys import KeyReader
from keyiso.store.schema import open_database, open_unchanging, store_error
from keyiso.store.writer import KeyTransaction, KeyWriter, Outcome

T = TypeVar("T")

_NOWHERE = Path(":memory:")

_WORTH_REOPENING: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors that an open database may keep when their cause is gone. A disk that is full is none of
them: what was opened before can be read all the while."""

_File = tuple[int, int]
"""Device and inode."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """The database, open."""

    connection: sqlite3.Connection
    reader: KeyReader
    writer: KeyWriter | None
    """None for what can only be read."""
    file: _File | None

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.connection.close()

    def close_elsewhere(self) -> None:
        """Close what does not lie at its path any more. What waits in the log, which still lies
        there, is first written to the file that it belongs to: with another one it would be mixed
        up. Raises ``sqlite3.Error`` when that cannot be done.
        """
        if self.writer is not None:
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self.close()


class KeyStore:
    """Opens the database when it is first needed, and again when that may help.

    The service runs without a usable store: whoever needs it gets ``KEYISO_E_STORE``, keys that
    are loaded keep working, and the next request tries again. A store that cannot be written can
    still be read where that is possible.
    """

    def __init__(self, loop: Loop, path: Path, boot_id: bytes) -> None:
        self._loop = loop
        self._path = path
        self._boot_id = boot_id
        self._tell: Callable[[], None] = lambda: None
        self._opened: _Opened | None = None
        self._was_there = False
        self._reopen = False
        self._nothing = KeyReader(open_database(_NOWHERE), path)

    @property
    def read(self) -> KeyReader:
        """Raises ``KEYISO_E_STORE`` while the database cannot be opened.

        Before the first change there is no database: it is only made when a worker has sealed a
        key, so that there is never a store without the root that its keys need.
        """
        file = self._look()
        if self._opened is None:
            if file is None:
                return self._nothing
            try:
                self._opened, _ = self._open()
            except NCryptError as error:
                self._opened = self._open_unchanging(file, error)
            self._was_there = True
        return self._opened.reader

    def change(self, change: Callable[[KeyTransaction], T]) -> Promise[T]:
        """Commit a change; the promise is kept after the commit has returned."""
        promise: Promise[T] = Promise()

        def done(outcome: Outcome) -> None:
            self._loop.call_soon_from_thread(lambda: self._settle(promise, outcome))

        self._writer().submit(change, done)
        return promise

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Call after each commit, in the loop."""
        self._tell = tell

    def revoked_everywhere(self, key_ids: tuple[bytes, ...]) -> None:
        """No worker holds these keys any more: that they were revoked need not be kept. What
        wrote them is told with its next commit.
        """
        if self._opened is not None and self._opened.writer is not None and key_ids:
            self._opened.writer.submit_with_next(lambda change: change.forget_revoked(key_ids))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _settle(self, promise: Promise[Any], outcome: Outcome) -> None:
        try:
            promise.keep(outcome())
        except BaseException as error:  # handed to who awaits the promise
            promise.break_with(error)
        else:
            self._tell()

    def _writer(self) -> KeyWriter:
        self._look()
        if self._opened is not None and self._opened.writer is not None:
            return self._opened.writer
        self.close()  # what could only be read, and would keep a writer from writing
        self._opened, writer = self._open()
        self._was_there = True
        return writer

    def _look(self) -> _File | None:
        """What lies at the path. What is open, and is not that or has failed, is closed.

        Raises ``KEYISO_E_STORE`` for a store that was there and is no more.
        """
        file = self._file()
        if self._opened is not None and file != self._opened.file:
            try:
                self._opened.close_elsewhere()
            except sqlite3.Error as error:
                raise store_error(error, self._path) from None
            self._opened = None
        if self._reopen:
            self.close()
        self._reopen = False
        if file is None and self._was_there:
            raise ncrypt_error(
                Status.KEYISO_E_STORE,
                f"the key store {self._path} is gone",
                "Put it back; or restart keyiso, to begin with an empty one.",
            )
        return file

    def _file(self) -> _File | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ncrypt_error(
                Status.KEYISO_E_STORE,
                f"the key store {self._path} cannot be reached: {error.strerror}",
                "Check its directory; keys already loaded keep working.",
            ) from None
        return found.st_dev, found.st_ino

    def _open(self) -> tuple[_Opened, KeyWriter]:
        if self._file() is not None and not os.access(self._path, os.W_OK):
            # SQLite would try, and leave a log behind that cannot be written later either.
            raise ncrypt_error(
                Status.KEYISO_E_STORE,
                f"the key store {self._path} may only be read",
                "Check its permissions and its file system.",
            )
        writer = KeyWriter(self._path, self._loop.clock, self._failed)  # upgrades what is older
        try:
            connection = open_database(self._path)
            file = self._file()
        except NCryptError:
            writer.close()
            raise
        boot_id = self._boot_id
        writer.submit(lambda change: change.forget_other_boots(boot_id), _ignore)
        reader = KeyReader(connection, self._path, self._failed)
        return _Opened(connection, reader, writer, file), writer

    def _open_unchanging(self, file: _File, error: NCryptError) -> _Opened:
        """To read at least. Raises the error for which the database could not be opened."""
        try:
            connection = open_unchanging(self._path)
        except NCryptError:
            raise error from None
        return _Opened(connection, KeyReader(connection, self._path, self._failed), None, file)

    def _failed(self, error: Exception) -> None:
        """Called in the writer's thread, too."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _WORTH_REOPENING:
            self._reopen = True


def _ignore(outcome: Outcome) -> None:
    """Old revocations that stay for another start harm nobody."""
