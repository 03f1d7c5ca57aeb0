"""The one writer: a thread that commits changes in groups.

All changes that wait at the same time share one commit, and so one wait for the disk. A change
that fails is rolled back alone. Nobody is told of success before the commit has returned.
"""

import queue
import sqlite3
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from keyiso.clock import Clock
from keyiso.limits import OPERATION_MEMORY_SECONDS
from keyiso.store.keys import Failed, KeyReader, StoredKey, StoredProperty
from keyiso.store.schema import DATABASE_ERRORS, open_database, store_error

Outcome = Callable[[], Any]
"""Returns a change's value, or raises its error."""

_GROUP: Final = 64
"""Changes in one commit."""


_FORGET_SOME: Final = """
    DELETE FROM operations WHERE (uid, operation_id) IN (
        SELECT uid, operation_id FROM operations WHERE committed < ? ORDER BY committed LIMIT ?
    ) RETURNING uid
"""


class KeyTransaction(KeyReader):
    """What a change may do. It is committed whole or not at all."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        now: float,
        operations: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        super().__init__(connection, path)
        self.now = now
        """Seconds since 1970-01-01 UTC."""
        self.remembered_for: Counter[int] = Counter()
        """Operation ids that this change has noted, by user."""
        self._operations = operations

    def operation_count(self, uid: int) -> int:
        """Operation ids of a user that are remembered."""
        return self._operations.get(uid, 0) + self.remembered_for[uid]

    def insert(self, key: StoredKey) -> None:
        self._connection.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                key.key_id,
                key.provider,
                key.partition,
                key.name,
                key.blob,
                key.generation,
                key.modified,
            ),
        )

    def delete(self, key_id: bytes) -> None:
        self._connection.execute("DELETE FROM keys WHERE key_id = ?", (key_id,))

    def update(self, key: StoredKey) -> None:
        """The same key, sealed anew or changed otherwise."""
        self._connection.execute(
            "UPDATE keys SET blob = ?, generation = ?, modified = ? WHERE key_id = ?",
            (key.blob, key.generation, key.modified, key.key_id),
        )

    def set_property(self, stored: StoredProperty) -> None:
        self._connection.execute(
            "DELETE FROM properties WHERE key_id = ? AND name = ?", (stored.key_id, stored.name)
        )
        self._connection.execute(
            "INSERT INTO properties VALUES (?, ?, ?, ?)",
            (stored.key_id, stored.name, stored.partition, stored.value),
        )

    def revoke(self, key_id: bytes, boot_id: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO revocations VALUES (?, ?)", (key_id, boot_id)
        )

    def forget_revoked(self, key_ids: tuple[bytes, ...]) -> None:
        """No worker holds these keys any more."""
        self._connection.executemany(
            "DELETE FROM revocations WHERE key_id = ?", ((key_id,) for key_id in key_ids)
        )

    def remember(self, uid: int, operation_id: bytes, request_hash: bytes, result: bytes) -> None:
        """Note the result of an operation id."""
        self._connection.execute(
            "INSERT INTO operations VALUES (?, ?, ?, ?, ?)",
            (uid, operation_id, request_hash, result, self.now),
        )
        self.remembered_for[uid] += 1

    def forget_other_boots(self, boot_id: bytes) -> None:
        """Revocations guard loaded keys and ephemeral blobs, which end with their boot."""
        self._connection.execute("DELETE FROM revocations WHERE boot_id != ?", (boot_id,))


def _ignore(error: Exception) -> None:
    """Who asked is told."""


class KeyWriter:
    """Runs changes in its own thread, in the order in which they came."""

    def __init__(self, path: Path, clock: Clock, failed: Failed = _ignore) -> None:
        self._path = path
        self._failed = failed
        self._clock = clock
        self._connection = open_database(path)
        self._waiting: queue.SimpleQueue[
            tuple[Callable[[KeyTransaction], Any], Callable[[Outcome], None]] | None
        ] = queue.SimpleQueue()
        self._operations: Counter[int] | None = None
        """How many are remembered for each user; None while that is not known."""
        self._with_next: deque[Callable[[KeyTransaction], Any]] = deque()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(
        self, change: Callable[[KeyTransaction], Any], done: Callable[[Outcome], None]
    ) -> None:
        """Queue a change. ``done`` is called in the writer's thread, after the commit."""
        self._waiting.put((change, done))

    def submit_with_next(self, change: Callable[[KeyTransaction], Any]) -> None:
        """Queue a change that nobody waits for: it is committed with the next one that somebody
        does, or is lost with the process.
        """
        self._with_next.append(change)

    def close(self) -> None:
        """Finish what was submitted."""
        self._waiting.put(None)
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            group = self._next_group()
            changes = [entry for entry in group if entry is not None]
            outcomes = self._commit([change for change, _ in changes])
            for (_, done), outcome in zip(changes, outcomes, strict=True):
                done(outcome)
            if len(changes) < len(group):
                return

    def _next_group(self) -> list[Any]:
        group = [self._waiting.get()]
        while len(group) < _GROUP and group[-1] is not None and not self._waiting.empty():
            group.append(self._waiting.get())
        return group

    def _commit(self, changes: list[Callable[[KeyTransaction], Any]]) -> list[Outcome]:
        if not changes:
            return []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._forget_operations()
            while self._with_next:
                self._apply(self._with_next.popleft())
            outcomes = [self._apply(change) for change in changes]
            self._connection.execute("COMMIT")
        except DATABASE_ERRORS as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._operations = None
            self._failed(error)
            return [_raise(store_error(error, self._path))] * len(changes)
        return outcomes

    def _forget_operations(self) -> None:
        """Forget some operation ids that nobody asks for any more: more than one commit adds."""
        operations = self._counted_operations()
        long_ago = self._clock.time() - OPERATION_MEMORY_SECONDS
        for (uid,) in self._connection.execute(_FORGET_SOME, (long_ago, 2 * _GROUP)).fetchall():
            operations[uid] -= 1

    def _counted_operations(self) -> Counter[int]:
        if self._operations is None:
            counted = "SELECT uid, count(*) FROM operations GROUP BY uid"
            self._operations = Counter(dict(self._connection.execute(counted)))
        return self._operations

    def _apply(self, change: Callable[[KeyTransaction], Any]) -> Outcome:
        self._connection.execute("SAVEPOINT change")
        operations = self._counted_operations()
        transaction = KeyTransaction(self._connection, self._path, self._clock.time(), operations)
        try:
            value = change(transaction)
        except DATABASE_ERRORS as error:
            if not self._connection.in_transaction:
                raise  # a full disk ends the whole transaction, not only this change
            self._connection.execute("ROLLBACK TO change")
            self._failed(error)
            outcome = _raise(store_error(error, self._path))
        except Exception as error:  # the change's own refusal: its caller gets it
            self._connection.execute("ROLLBACK TO change")
            outcome = _raise(error)
        else:
            operations.update(transaction.remembered_for)

            def outcome() -> Any:
                return value

        self._connection.execute("RELEASE change")
        return outcome


def _raise(error: Exception) -> Outcome:
    def outcome() -> Any:
        raise error

    return outcome
