"""Stores and backups that tests start from, made without any process."""

import contextlib
import hashlib
import io
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from keyiso.backup.archive import write_archive
from keyiso.backup.contents import Contents, read_contents
from keyiso.backup.holdings import held_keys, holdings_of
from keyiso.backup.manifest import Manifest
from keyiso.backup.sealed_root import SealedRoot
from keyiso.crypto.key_blob import seal_key
from keyiso.crypto.key_header import KeyHeader
from keyiso.store.keys import KeyReader, StoredKey
from keyiso.store.schema import MACHINE, SCHEMA_VERSION, open_database
from keyiso.store.writer import KeyTransaction
from tests.unit.samples import BOOT_ROOT, ROOT, header, pkcs8

SEALED_ROOT = SealedRoot(b"r" * 16, b"s" * 16, b"n" * 12, b"c" * 80)


def stored(sealed: KeyHeader, **changes: Any) -> StoredKey:
    """The row of a key."""
    root = ROOT if sealed.root_kind == ROOT.kind else BOOT_ROOT
    if sealed.root_id != root.root_id:
        root = type(root)(sealed.root_id, root.kind, root.secret)
    row = StoredKey(
        sealed.key_id,
        sealed.provider,
        MACHINE if sealed.scope == "machine" else sealed.owner,
        sealed.name,
        seal_key(root, sealed, pkcs8()),
        sealed.generation,
        1.5,
    )
    return StoredKey(**{name: getattr(row, name) for name in row.__slots__} | changes)


def make_store(path: Path, *keys: StoredKey, version: int = SCHEMA_VERSION) -> Path:
    """A store with these keys, or with one; all of it is in its file."""
    with contextlib.closing(open_database(path)) as connection:
        change = KeyTransaction(connection, path, 0.0)
        for key in keys or (stored(header()),):
            change.insert(key)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return path


def manifest_of(store: Path, **changes: Any) -> Manifest:
    """A manifest that fits a store."""
    data = store.read_bytes()
    with contextlib.closing(sqlite3.connect(store)) as connection:
        try:
            holdings = holdings_of(held_keys(KeyReader(connection, store)))
        except Exception:  # the manifest of what is no store does not matter
            holdings = holdings_of(())
    fitting = Manifest(
        keyiso_version="0.1.0",
        created=1e9,
        machine=b"m" * 16,
        system=False,
        schema_version=SCHEMA_VERSION,
        holdings=holdings,
        snapshot_bytes=len(data),
        snapshot_sha256=hashlib.sha256(data).digest(),
        root=None,
    )
    return msgspec.structs.replace(fitting, **changes)


def archive_of(store: Path, **changes: Any) -> bytes:
    """A backup of a store, whatever it may be."""
    file = io.BytesIO()
    write_archive(file, manifest_of(store, **changes), store)
    return file.getvalue()


def read(data: bytes, directory: Path) -> Contents:
    """What a restore reads, in a directory of its own."""
    return read_contents(io.BytesIO(data), directory / "snapshot")


def changed(store: Path, change: Callable[[sqlite3.Connection], object]) -> Path:
    """The store, after somebody has had it open who knows SQLite well."""
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as connection:
        change(connection)
    return store
