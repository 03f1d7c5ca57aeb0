"""Which ephemeral keys are alive, and whose they are: a database that ends with its boot.

It lies in the runtime directory, and no commit waits for a disk: what it says is worth nothing
after a power failure, and outlives every process that is killed. The keys themselves are with
their clients, sealed.
"""

import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.store.schema import store_error

SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x6B697365
"""'kise' in the database's header (sqlite.org/pragma.html#pragma_application_id)."""

_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE ephemerals (
    key_id BLOB PRIMARY KEY,
    uid INTEGER NOT NULL,
    client_group BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ephemerals_by_client ON ephemerals (uid, client_group);
CREATE TABLE processes (
    uid INTEGER NOT NULL,
    client_group BLOB NOT NULL,
    pid INTEGER NOT NULL,
    started INTEGER NOT NULL,
    PRIMARY KEY (uid, client_group, pid)
) STRICT, WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


_HAS_KEYS: Final = "SELECT 1 FROM ephemerals WHERE uid = ? AND client_group = ? LIMIT 1"
_END_KEYS: Final = "DELETE FROM ephemerals WHERE uid = ? AND client_group = ? RETURNING 1"
_PROCESSES: Final = "SELECT pid, started FROM processes WHERE uid = ? AND client_group = ?"
_FORGET_PROCESSES: Final = "DELETE FROM processes WHERE uid = ? AND client_group = ?"


@dataclass(frozen=True, slots=True)
class EphemeralClient:
    """Whose an ephemeral key is: processes of one user that know one secret."""

    uid: int
    group: bytes
    """SHA-256 of the secret."""


@dataclass(frozen=True, slots=True)
class ClientProcess:
    """A process as no other one of this boot is."""

    pid: int
    started: int
    """When, in clock ticks since the boot."""


class EphemeralStore:
    """The ephemeral keys of this boot.

    The database is opened when it is first needed, and again after it failed. Every method
    raises ``KEYISO_E_STORE`` while it cannot be used.
    """

    def __init__(self, directory: Path, boot_id: bytes) -> None:
        self._path = directory / f"ephemerals-{boot_id.hex()}.sqlite3"
        self._connection: sqlite3.Connection | None = None
        self._counts: Counter[int] = Counter()

    def count(self, uid: int) -> int:
        """Keys of a user that are alive."""
        self._open()
        return self._counts[uid]

    def is_alive(self, key_id: bytes) -> bool:
        return bool(self._execute("SELECT 1 FROM ephemerals WHERE key_id = ?", (key_id,)))

    def has_keys(self, client: EphemeralClient) -> bool:
        return bool(self._execute(_HAS_KEYS, _values(client)))

    def clients(self) -> tuple[EphemeralClient, ...]:
        """Everybody who has keys."""
        rows = self._execute("SELECT DISTINCT uid, client_group FROM ephemerals")
        return tuple(EphemeralClient(*row) for row in rows)

    def processes(self, client: EphemeralClient) -> tuple[ClientProcess, ...]:
        """The processes that a client was seen as."""
        rows = self._execute(_PROCESSES, _values(client))
        return tuple(ClientProcess(*row) for row in rows)

    def add(self, key_id: bytes, client: EphemeralClient) -> None:
        """A new key."""
        self._execute("INSERT INTO ephemerals VALUES (?, ?, ?)", (key_id, *_values(client)))
        self._counts[client.uid] += 1

    def see(self, client: EphemeralClient, process: ClientProcess) -> None:
        """A process of the client. One of an earlier process with its number is forgotten."""
        values = (*_values(client), process.pid, process.started)
        self._execute("INSERT OR REPLACE INTO processes VALUES (?, ?, ?, ?)", values)

    def remove(self, key_id: bytes) -> None:
        """The key has ended; one that ended before stays ended."""
        rows = self._execute("DELETE FROM ephemerals WHERE key_id = ? RETURNING uid", (key_id,))
        for (uid,) in rows:
            self._counts[uid] -= 1

    def remove_client(self, client: EphemeralClient) -> None:
        """The client has ended, and all of its keys with it."""
        self._execute(_FORGET_PROCESSES, _values(client))
        rows = self._execute(_END_KEYS, _values(client))
        self._counts[client.uid] -= len(rows)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._open().execute(query, values).fetchall()
        except sqlite3.Error as error:
            self.close()
            raise store_error(error, self._path) from None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = _opened(self._path)
                counted = "SELECT uid, count(*) FROM ephemerals GROUP BY uid"
                self._counts = Counter(dict(self._connection.execute(counted)))
            except sqlite3.Error as error:
                self.close()
                raise store_error(error, self._path) from None
            self._remove_other_boots()
        return self._connection

    def _remove_other_boots(self) -> None:
        for file in self._path.parent.glob("ephemerals-*"):
            if not file.name.startswith(self._path.name):
                file.unlink(missing_ok=True)


def _values(client: EphemeralClient) -> tuple[int, bytes]:
    return client.uid, client.group


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA trusted_schema = OFF")
        if (application, version) == (0, 0):
            connection.executescript(_SCHEMA)
        elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise ncrypt_error(
                Status.KEYISO_E_STORE,
                f"{path} is no list of ephemeral keys that this keyiso knows",
                "Remove it: the ephemeral keys of this boot end with it.",
            )
    except BaseException:
        connection.close()
        raise
    return connection
