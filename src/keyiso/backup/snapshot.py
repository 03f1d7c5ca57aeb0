"""A copy of a store, in one file: taken while the store is in use, and checked before it is used.

A copy is a database of its own. It is brought to the present schema when it is opened, as the
KeyIso service does with a store when it starts.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.store.schema import (
    APPLICATION_ID,
    DATABASE_ERRORS,
    SCHEMA_VERSION,
    open_database,
    schema_of,
    schema_of_version,
    store_error,
)

_BUSY_SECONDS: Final = 5.0
"""A KeyIso service that starts may be bringing its store up to date."""


def take_snapshot(store: Path, copy: Path) -> None:
    """Copy a store as it is at one moment, to a file that must not exist.

    The store is only read, and its service goes on meanwhile. ``VACUUM INTO`` gives what the
    online backup interface gives, in one transaction, and leaves out the pages that are not used.
    Raises ``KEYISO_E_STORE``.
    """
    try:
        with contextlib.closing(
            sqlite3.connect(_address(store, "ro"), uri=True, timeout=_BUSY_SECONDS)
        ) as connection:
            connection.execute("VACUUM INTO ?", (os.fspath(copy),))
    except DATABASE_ERRORS as error:
        raise store_error(error, store) from None


def settle(store: Path) -> None:
    """Bring what a service that was killed left in the write-ahead log into the store itself.

    A store that is too damaged for that stays as it is.
    """
    with (
        contextlib.suppress(*DATABASE_ERRORS),
        contextlib.closing(sqlite3.connect(_address(store, "rw"), uri=True)) as connection,
    ):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextlib.contextmanager
def opened_snapshot(copy: Path, which: str) -> Iterator[sqlite3.Connection]:
    """A copy that is whole and has the schema of a store, neither more nor less.

    A trigger or a view that does not belong there is refused before anything could run it.
    ``which`` says in errors of what store it is a copy. Raises ``NTE_BAD_DATA``, or
    ``NTE_BAD_VER`` when a newer keyiso wrote it.
    """
    try:
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            _limit(connection)
            _check(connection, which)
        with contextlib.closing(open_database(copy)) as connection:
            _limit(connection)
            yield connection
    except DATABASE_ERRORS as error:
        raise _not_whole(which, str(error)) from None


def _address(store: Path, mode: str) -> str:
    """For a store that is there: it is not made."""
    return f"file:{quote(os.fsencode(store))}?mode={mode}"


def _limit(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.BACKUP_ROW_BYTES)


def _check(connection: sqlite3.Connection, which: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version < 1:
        raise _not_whole(which, "it is a database of something else")
    if version > SCHEMA_VERSION:
        raise ncrypt_error(
            Status.NTE_BAD_VER,
            f"the store {which} has schema version {version}; this keyiso knows {SCHEMA_VERSION}",
            "Use the newer keyiso that wrote it.",
        )
    if schema_of(connection) != schema_of_version(version):
        raise _not_whole(which, f"it has not the tables of schema version {version}")
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise _not_whole(which, found)


def _not_whole(which: str, why: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        f"the store {which} is damaged: {why}",
        "As it is it cannot be copied or restored; an older backup may be whole.",
    )
