"""The database: opening it, its schema, its versions."""

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

SCHEMA_VERSION: Final = 3
APPLICATION_ID: Final = 0x6B697331
"""'kis1' in the database's header (sqlite.org/pragma.html#pragma_application_id)."""

MACHINE: Final = -1
"""The partition of machine keys; a user's keys are in the partition of the uid."""

_BUSY_MILLISECONDS: Final = 5000
"""A KeyIso service that was killed may still be ending while the next one opens its store."""

DATABASE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What the database raises. Its messages quote the file, and are decoded: those about a damaged
one may not be text."""

# One statement after the other; | stands for the semicolon inside a trigger.
_UPGRADES: Final = (
    # Version 0, an empty file, to version 1.
    """
    CREATE TABLE keys (
        key_id BLOB PRIMARY KEY,
        provider TEXT NOT NULL,
        partition INTEGER NOT NULL,
        name BLOB NOT NULL,
        blob BLOB NOT NULL,
        generation INTEGER NOT NULL,
        modified REAL NOT NULL,
        UNIQUE (provider, partition, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE operations (
        uid INTEGER NOT NULL,
        operation_id BLOB NOT NULL,
        request_hash BLOB NOT NULL,
        result BLOB NOT NULL,
        committed REAL NOT NULL,
        PRIMARY KEY (uid, operation_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX operations_by_time ON operations (committed);
    CREATE TABLE revocations (
        key_id BLOB PRIMARY KEY,
        boot_id BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    # Version 1 to 2: the number of keys of a partition, without counting them each time.
    """
    CREATE TABLE key_counts (
        partition INTEGER PRIMARY KEY,
        keys INTEGER NOT NULL
    ) STRICT;
    INSERT INTO key_counts SELECT partition, count(*) FROM keys GROUP BY partition;
    CREATE TRIGGER count_inserted AFTER INSERT ON keys BEGIN
        INSERT INTO key_counts VALUES (new.partition, 1)
            ON CONFLICT (partition) DO UPDATE SET keys = keys + 1|
    END;
    CREATE TRIGGER count_deleted AFTER DELETE ON keys BEGIN
        UPDATE key_counts SET keys = keys - 1 WHERE partition = old.partition|
    END;
    """,
    # Version 2 to 3: properties of keys, which go with their key, and a count of changes for
    # those who wait for them.
    """
    CREATE TABLE properties (
        key_id BLOB NOT NULL,
        name BLOB NOT NULL,
        partition INTEGER NOT NULL,
        value BLOB NOT NULL,
        UNIQUE (key_id, name)
    ) STRICT;
    ALTER TABLE key_counts ADD COLUMN property_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE key_counts ADD COLUMN changes INTEGER NOT NULL DEFAULT 0;
    DROP TRIGGER count_inserted;
    DROP TRIGGER count_deleted;
    CREATE TRIGGER key_inserted AFTER INSERT ON keys BEGIN
        INSERT INTO key_counts (partition, keys, changes) VALUES (new.partition, 1, 1)
            ON CONFLICT (partition) DO UPDATE SET keys = keys + 1, changes = changes + 1|
    END;
    CREATE TRIGGER key_updated AFTER UPDATE ON keys BEGIN
        UPDATE key_counts SET changes = changes + 1 WHERE partition = new.partition|
    END;
    CREATE TRIGGER key_deleted AFTER DELETE ON keys BEGIN
        DELETE FROM properties WHERE key_id = old.key_id|
        UPDATE key_counts SET keys = keys - 1, changes = changes + 1
            WHERE partition = old.partition|
    END;
    CREATE TRIGGER property_inserted AFTER INSERT ON properties BEGIN
        UPDATE key_counts SET property_bytes = property_bytes + length(new.value)
            WHERE partition = new.partition|
    END;
    CREATE TRIGGER property_deleted AFTER DELETE ON properties BEGIN
        UPDATE key_counts SET property_bytes = property_bytes - length(old.value)
            WHERE partition = old.partition|
    END;
    """,
)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the store, make it or bring it to the present schema.

    Raises ``KEYISO_E_STORE`` for a file that cannot be read or written, is not a keyiso store,
    is damaged, or was written by a newer keyiso.
    """
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MILLISECONDS / 1000
        )
        _check_identity(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        _upgrade(connection)
    except (*DATABASE_ERRORS, OSError) as error:
        raise store_error(error, path) from None
    return connection


def schema_of(connection: sqlite3.Connection) -> frozenset[tuple[str | None, ...]]:
    """Every table, index, trigger and view of a database, with the statements that made them."""
    return frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def schema_of_version(version: int) -> frozenset[tuple[str | None, ...]]:
    """What `schema_of` gives for every store of a version, from 1 to the present one."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as empty:
        _upgrade(empty, version)
        return schema_of(empty)


def open_unchanging(path: Path) -> sqlite3.Connection:
    """Open a store that cannot be opened for writing, as on a full or read-only disk, to read
    what it holds. It must not change while it is open.

    Raises ``KEYISO_E_STORE`` as `open_database` does, and for a store of an older schema.
    """
    try:
        # Committed changes that wait in the log count; without any, no file is made beside it.
        how = "mode=ro" if _has_log(path) else "immutable=1"
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
        _check_identity(connection, path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except (*DATABASE_ERRORS, OSError) as error:
        raise store_error(error, path) from None
    if version != SCHEMA_VERSION:
        connection.close()
        raise ncrypt_error(
            Status.KEYISO_E_STORE,
            f"{path} has schema version {version}, and cannot be brought to {SCHEMA_VERSION}"
            " without writing",
        )
    return connection


def store_error(error: Exception, path: Path) -> NCryptError:
    """What a database error means to somebody who keeps keys there."""
    return ncrypt_error(
        Status.KEYISO_E_STORE,
        f"the key store {path} cannot be used: {error}",
        "Check its disk, its permissions and its file system; keys already loaded keep working.",
    )


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise ncrypt_error(
            Status.KEYISO_E_STORE,
            f"{path} is a database of something else",
            "Move it away, or name another state directory.",
        )
    if version > SCHEMA_VERSION:
        raise ncrypt_error(
            Status.KEYISO_E_STORE,
            f"{path} has schema version {version}; this keyiso knows {SCHEMA_VERSION}",
            "Use the newer keyiso that wrote it; this one will not touch it.",
        )
    _check_length(connection, path)


def _check_length(connection: sqlite3.Connection, path: Path) -> None:
    """Pages that are missing are noticed by SQLite; of one that is cut it reads zeros."""
    (page,) = connection.execute("PRAGMA page_size").fetchone()
    # A change that was interrupted on its way from the log to the file will be repeated.
    if path.exists() and path.stat().st_size % page and not _has_log(path):
        raise ncrypt_error(
            Status.KEYISO_E_STORE,
            f"the key store {path} is malformed: it was cut short",
            "Restore it from a backup; keys already loaded keep working.",
        )


def _has_log(path: Path) -> bool:
    """Committed changes wait in a file of their own."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _upgrade(connection: sqlite3.Connection, to: int = SCHEMA_VERSION) -> None:
    """Bring the schema to the present version, or an earlier one, one step a transaction."""
    while True:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == to:
            connection.execute("COMMIT")
            return
        for statement in filter(str.strip, _UPGRADES[version].split(";\n")):
            connection.execute(statement.replace("|", ";"))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
