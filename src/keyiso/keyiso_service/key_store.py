"""The store as the KeyIso service's loop uses it: reads at once, changes as promises."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.store.keys import KeyReader
from keyiso.store.schema import open_database
from keyiso.store.writer import KeyTransaction, KeyWriter, Outcome

T = TypeVar("T")

_NOWHERE = Path(":memory:")


class KeyStore:
    """Opens the database when it is first needed.

    The service runs without a usable store: whoever needs it gets ``KEYISO_E_STORE``, keys that
    are loaded keep working, and the next request tries again.
    """

    def __init__(self, loop: Loop, path: Path, boot_id: bytes) -> None:
        self._loop = loop
        self._path = path
        self._boot_id = boot_id
        self._connection: sqlite3.Connection | None = None
        self._reader: KeyReader | None = None
        self._writer: KeyWriter | None = None
        self._tell: Callable[[], None] = lambda: None
        self._nothing = KeyReader(open_database(_NOWHERE), path)

    @property
    def read(self) -> KeyReader:
        """Raises ``KEYISO_E_STORE`` while the database cannot be opened.

        Before the first change there is no database: it is only made when a worker has sealed a
        key, so that there is never a store without the root that its keys need.
        """
        if self._reader is None:
            if not self._path.exists():
                return self._nothing
            self._start_writer()  # it brings an older schema up to date
            self._connection = open_database(self._path)
            self._reader = KeyReader(self._connection, self._path)
        return self._reader

    def change(self, change: Callable[[KeyTransaction], T]) -> Promise[T]:
        """Commit a change; the promise is kept after the commit has returned."""
        promise: Promise[T] = Promise()

        def done(outcome: Outcome) -> None:
            self._loop.call_soon_from_thread(lambda: self._settle(promise, outcome))

        self._start_writer().submit(change, done)
        return promise

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Call after each commit, in the loop."""
        self._tell = tell

    def revoked_everywhere(self, key_ids: tuple[bytes, ...]) -> None:
        """No worker holds these keys any more: that they were revoked need not be kept. What
        wrote them is told with its next commit.
        """
        if self._writer is not None and key_ids:
            self._writer.submit_with_next(lambda change: change.forget_revoked(key_ids))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._connection is not None:
            self._connection.close()

    def _settle(self, promise: Promise[Any], outcome: Outcome) -> None:
        try:
            promise.keep(outcome())
        except BaseException as error:  # handed to who awaits the promise
            promise.break_with(error)
        else:
            self._tell()

    def _start_writer(self) -> KeyWriter:
        if self._writer is None:
            self._writer = KeyWriter(self._path, self._loop.clock)
            boot_id = self._boot_id
            self._writer.submit(lambda change: change.forget_other_boots(boot_id), _ignore)
        return self._writer


def _ignore(outcome: Outcome) -> None:
    """Old revocations that stay for another start harm nobody."""
