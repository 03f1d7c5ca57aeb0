"""Rows of the store, and what is read from them."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyiso.store.schema import DATABASE_ERRORS, store_error

_SELECT: Final = "SELECT key_id, provider, partition, name, blob, generation, modified FROM keys "


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row. It is a place to find a sealed key, and not believed in anything else."""

    key_id: bytes
    provider: str
    partition: int
    """A uid, or `schema.MACHINE`."""
    name: bytes
    """UTF-16-LE."""
    blob: bytes
    generation: int
    modified: float
    """Seconds since 1970-01-01 UTC."""


@dataclass(frozen=True, slots=True)
class StoredProperty:
    """A property of a stored key, sealed."""

    key_id: bytes
    name: bytes
    """UTF-16-LE."""
    partition: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Remembered:
    """A change that was committed under an operation id."""

    request_hash: bytes
    result: bytes


Failed = Callable[[Exception], None]
"""Is told of each error of the database, besides who asked."""


def _ignore(error: Exception) -> None:
    """Who asked is told."""


class KeyReader:
    """Reads of one connection. Each sees all that was committed before it."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, failed: Failed = _ignore
    ) -> None:
        self._connection = connection
        self._path = path
        self._failed = failed

    def find(self, provider: str, partition: int, name: bytes) -> StoredKey | None:
        """The key of a name, compared exactly."""
        rows = self._rows(
            _SELECT + "WHERE provider = ? AND partition = ? AND name = ?",
            (provider, partition, name),
        )
        return StoredKey(*rows[0]) if rows else None

    def page(
        self, provider: str, partition: int, after: bytes, count: int
    ) -> tuple[StoredKey, ...]:
        """The next keys of a partition after a name, in the order of the names' bytes."""
        rows = self._rows(
            _SELECT + "WHERE provider = ? AND partition = ? AND name > ? ORDER BY name LIMIT ?",
            (provider, partition, after, count),
        )
        return tuple(StoredKey(*row) for row in rows)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment, whatever is committed meanwhile."""
        self._rows("BEGIN", ())
        try:
            yield
        finally:
            if self._connection.in_transaction:  # an error may have ended it
                self._rows("COMMIT", ())

    def page_by_id(self, after: bytes, count: int) -> tuple[StoredKey, ...]:
        """The next keys of all partitions after an id, in the order of the ids."""
        rows = self._rows(_SELECT + "WHERE key_id > ? ORDER BY key_id LIMIT ?", (after, count))
        return tuple(StoredKey(*row) for row in rows)

    def every(self) -> Iterator[StoredKey]:
        """All keys of all partitions, in no order."""
        try:
            for row in self._connection.execute(_SELECT):
                yield StoredKey(*row)
        except DATABASE_ERRORS as error:
            raise store_error(error, self._path) from None

    def remembered(self, uid: int, operation_id: bytes) -> Remembered | None:
        """What this user's operation of that id did; somebody else's id is nothing."""
        rows = self._rows(
            "SELECT request_hash, result FROM operations WHERE uid = ? AND operation_id = ?",
            (uid, operation_id),
        )
        return Remembered(*rows[0]) if rows else None

    def key_count(self, partition: int) -> int:
        """Stored keys of a user, or of the machine."""
        rows = self._rows("SELECT keys FROM key_counts WHERE partition = ?", (partition,))
        return int(rows[0][0]) if rows else 0

    def property_of(self, key_id: bytes, name: bytes) -> bytes | None:
        """The sealed value of a key's property."""
        rows = self._rows(
            "SELECT value FROM properties WHERE key_id = ? AND name = ?", (key_id, name)
        )
        return bytes(rows[0][0]) if rows else None

    def properties(self, key_id: bytes) -> dict[bytes, bytes]:
        """A key's sealed properties, by their names."""
        return dict(self._rows("SELECT name, value FROM properties WHERE key_id = ?", (key_id,)))

    def property_sizes(self, key_id: bytes) -> dict[bytes, int]:
        """The lengths of a key's sealed properties, by their names."""
        rows = self._rows("SELECT name, length(value) FROM properties WHERE key_id = ?", (key_id,))
        return dict(rows)

    def property_bytes(self, partition: int) -> int:
        """What all properties of a partition's keys take."""
        rows = self._rows("SELECT property_bytes FROM key_counts WHERE partition = ?", (partition,))
        return int(rows[0][0]) if rows else 0

    def changes(self, partition: int) -> int:
        """Counts every change of a partition's keys, and never goes back."""
        rows = self._rows("SELECT changes FROM key_counts WHERE partition = ?", (partition,))
        return int(rows[0][0]) if rows else 0

    def is_revoked(self, key_id: bytes) -> bool:
        """The key was deleted, replaced or freed in this boot."""
        return bool(self._rows("SELECT 1 FROM revocations WHERE key_id = ?", (key_id,)))

    def revoked(self) -> tuple[bytes, ...]:
        """Every key that was revoked in this boot."""
        return tuple(key_id for (key_id,) in self._rows("SELECT key_id FROM revocations", ()))

    def _rows(self, query: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except DATABASE_ERRORS as error:
            self._failed(error)
            raise store_error(error, self._path) from None
