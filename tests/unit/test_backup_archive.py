"""The file of a backup: what was cut, changed or made by somebody else is refused."""

import hashlib
import io
import random
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyiso import limits
from keyiso.backup import archive
from keyiso.backup.holdings import Holdings, KeyRoot, RootNeed, holdings_of
from keyiso.backup.manifest import encode_manifest
from keyiso.backup.sealed_root import SealedRoot, check_password, open_root, seal_root
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.store.schema import SCHEMA_VERSION, _upgrade, open_database
from tests.unit.backups import (
    SEALED_ROOT,
    archive_of,
    changed,
    make_store,
    manifest_of,
    read,
    stored,
)
from tests.unit.samples import ROOT, header

DAMAGED = Status.NTE_BAD_DATA
HEAD = 13 + 1 + 4 + 32


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store")


def status_of_reading(data: bytes, tmp_path: Path) -> int:
    with pytest.raises(NCryptError) as caught:
        read(data, tmp_path)
    return caught.value.status


def with_sums(data: bytes) -> bytes:
    """The backup with the sums, and the length of the manifest, that its bytes have."""
    (length,) = struct.unpack_from("<I", data, 14)
    manifest = data[HEAD : HEAD + length]
    return data[:18] + hashlib.sha256(manifest).digest() + data[HEAD:]


# --- the file ----------------------------------------------------------------------------------


def test_what_was_written_is_read(store: Path, tmp_path: Path) -> None:
    contents = read(archive_of(store, root=SEALED_ROOT), tmp_path)

    assert contents.manifest == manifest_of(store, root=SEALED_ROOT)
    (key,) = contents.keys
    sample = header()
    assert key.place == (sample.provider, sample.owner, sample.name)
    assert (key.key_id, key.generation) == (sample.key_id, sample.generation)
    assert key.root == KeyRoot("software", "machine", ROOT.root_id)


def test_a_file_begins_with_what_it_is(store: Path) -> None:
    assert archive_of(store).startswith(b"keyiso-backup\x01")


def test_a_file_that_was_cut_is_refused_wherever_that_was(store: Path, tmp_path: Path) -> None:
    data = archive_of(store)
    (length,) = struct.unpack_from("<I", data, 14)
    for end in (*range(HEAD + length + 100), *range(HEAD + length, len(data), 997), len(data) - 1):
        assert status_of_reading(data[:end], tmp_path) == DAMAGED, end


def test_a_file_is_refused_whichever_of_its_bits_was_changed(store: Path, tmp_path: Path) -> None:
    data = archive_of(store, root=SEALED_ROOT)
    (length,) = struct.unpack_from("<I", data, 14)
    places = (*range(HEAD + length + 100), *range(HEAD + length, len(data), 997), len(data) - 1)
    for place in places:
        flipped = bytes([data[place] ^ 1 << random.randrange(8)])
        status = status_of_reading(data[:place] + flipped + data[place + 1 :], tmp_path)
        assert status == (Status.NTE_BAD_VER if place == 13 else DAMAGED), place


def test_what_follows_the_end_is_noticed(store: Path, tmp_path: Path) -> None:
    assert status_of_reading(archive_of(store) + b"\0", tmp_path) == DAMAGED


@pytest.mark.parametrize("data", [b"", b"-----BEGIN PRIVATE KEY-----", b"SQLite format 3\0" * 99])
def test_what_is_no_backup(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(NCryptError, match="not a backup of keyiso"):
        read(data, tmp_path)


def test_a_longer_manifest_is_refused_before_it_is_read(store: Path, tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        """Gives the head, and then whatever is asked for."""

        asked = 0

        def read(self, size: int = -1) -> bytes:
            self.asked += size
            head = struct.pack("<13sBI32s", b"keyiso-backup", 1, 0xFFFFFFFF, bytes(32))
            return head if self.asked == size else bytes(size)

    file = Endless()
    with pytest.raises(NCryptError, match="longer than"):
        archive.read_archive(file, tmp_path / "snapshot")  # type: ignore[arg-type]
    assert file.asked == HEAD


def test_a_snapshot_has_a_longest_length(store: Path, tmp_path: Path) -> None:
    data = archive_of(store, snapshot_bytes=limits.BACKUP_SNAPSHOT_BYTES + 1)

    assert status_of_reading(data, tmp_path) == Status.KEYISO_E_LIMIT


def test_a_manifest_has_a_longest_length(store: Path) -> None:
    needs = tuple(RootNeed(KeyRoot("software", "machine", b"r" * 16), 1) for _ in range(60_000))
    with pytest.raises(NCryptError) as caught:
        encode_manifest(manifest_of(store, holdings=Holdings(1, 0, 0, needs)))
    assert caught.value.status == Status.KEYISO_E_LIMIT


@pytest.mark.parametrize(
    "changes",
    [
        {"created": float("nan")},
        {"created": float("inf")},
        {"created": -1.0},
        {"created": 253_370_764_800.0},
        {"machine": b"m"},
        {"snapshot_sha256": b"short"},
        {"root": msgspec.structs.replace(SEALED_ROOT, root_id=b"r")},
        {"root": msgspec.structs.replace(SEALED_ROOT, salt=b"")},
        {"root": msgspec.structs.replace(SEALED_ROOT, nonce=b"")},
        {"root": msgspec.structs.replace(SEALED_ROOT, ciphertext=bytes(1025))},
        {"keyiso_version": 7},
        {"snapshot_bytes": -1},
        {"snapshot_bytes": 2**80 >> 17},
        {"holdings": Holdings(0, 0, 0, ())},
    ],
    ids=str,
)
def test_a_manifest_with_values_that_cannot_be(
    changes: dict[str, Any], store: Path, tmp_path: Path
) -> None:
    status = status_of_reading(archive_of(store, **changes), tmp_path)

    assert status in (DAMAGED, Status.KEYISO_E_LIMIT)


# --- the store in it ---------------------------------------------------------------------------


def test_a_store_of_every_earlier_schema_is_brought_to_the_present_one(tmp_path: Path) -> None:
    assert SCHEMA_VERSION > 1
    for version in range(1, SCHEMA_VERSION + 1):
        place = tmp_path / str(version)
        place.mkdir()
        old = sqlite3.connect(place / "store", isolation_level=None)
        _upgrade(old, version)
        key = stored(header())
        old.execute(
            "INSERT INTO keys (key_id, provider, partition, name, blob, generation, modified)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [getattr(key, name) for name in key.__slots__],
        )
        old.close()

        contents = read(archive_of(place / "store", schema_version=version), place)

        assert [one.key_id for one in contents.keys] == [key.key_id]
        connection = open_database(place / "snapshot")
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        connection.close()


def test_a_store_of_a_newer_schema_is_refused(store: Path, tmp_path: Path) -> None:
    changed(store, lambda c: c.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}"))

    assert status_of_reading(archive_of(store), tmp_path) == Status.NTE_BAD_VER


DELETES_ALL = "CREATE TRIGGER x AFTER INSERT ON operations BEGIN DELETE FROM keys; END"


def patched(connection: sqlite3.Connection, sql: str) -> None:
    """Edit the schema's own table, which SQLite allows to who asks for it."""
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute(sql)
    connection.execute("PRAGMA writable_schema = RESET")


def text_where_a_number_must_be(connection: sqlite3.Connection) -> None:
    strict = "replace(sql, 'STRICT, WITHOUT', 'WITHOUT')"
    patched(connection, f"UPDATE sqlite_schema SET sql = {strict} WHERE name = 'keys'")
    connection.execute("UPDATE keys SET generation = 'many'")
    strict = "replace(sql, 'WITHOUT', 'STRICT, WITHOUT')"
    patched(connection, f"UPDATE sqlite_schema SET sql = {strict} WHERE name = 'keys'")


EDITS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "a trigger": lambda c: c.execute(DELETES_ALL),
    "a view": lambda c: c.execute("CREATE VIEW more AS SELECT * FROM keys"),
    "a table": lambda c: c.execute("CREATE TABLE more (x)"),
    "a table that is missing": lambda c: c.execute("DROP TABLE revocations"),
    "an index that is missing": lambda c: c.execute("DROP INDEX operations_by_time"),
    "another trigger": lambda c: patched(
        c, "UPDATE sqlite_schema SET sql = replace(sql, 'keys - 1', 'keys + 1')"
    ),
    "another application": lambda c: c.execute("PRAGMA application_id = 7"),
    "no version": lambda c: c.execute("PRAGMA user_version = 0"),
    "text where a number must be": text_where_a_number_must_be,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_store_that_is_not_as_keyiso_makes_it_is_refused(
    edit: Callable[[sqlite3.Connection], object], store: Path, tmp_path: Path
) -> None:
    changed(store, edit)

    assert status_of_reading(archive_of(store), tmp_path) == DAMAGED


def test_a_page_that_was_overwritten_is_noticed(store: Path, tmp_path: Path) -> None:
    data = bytearray(store.read_bytes())
    data[4096 * 2 : 4096 * 2 + 64] = bytes(64)
    store.write_bytes(data)

    assert status_of_reading(archive_of(store), tmp_path) == DAMAGED


def test_a_row_has_a_longest_length(store: Path, tmp_path: Path) -> None:
    changed(store, lambda c: c.execute("UPDATE keys SET blob = zeroblob(1 << 24)"))

    assert status_of_reading(archive_of(store), tmp_path) in (DAMAGED, Status.KEYISO_E_STORE)


def test_keys_that_are_damaged_are_counted_and_restored_as_they_are(tmp_path: Path) -> None:
    whole, other = header(), header(key_id=b"o" * 16, name=b"o\0")
    store = make_store(
        tmp_path / "store",
        stored(whole),
        stored(other, blob=b"no blob"),
        stored(header(key_id=b"p" * 16, name=b"p\0"), name=b"moved here\0\0"),
        stored(header(key_id=b"q" * 16, name=b"q\0"), name=b"odd"),
    )

    contents = read(archive_of(store), tmp_path)

    assert contents.manifest.holdings.damaged_keys == 3
    assert [key.name for key in contents.keys if key.root is not None] == ["Schlüssel"]
    assert {str(key) for key in contents.keys} >= {"'o' of uid 1000", "(no name) of uid 1000"}


def test_keys_are_counted_by_scope_and_by_root(tmp_path: Path) -> None:
    keys = [
        stored(header()),
        stored(header(key_id=b"1" * 16, name=b"1\0", scope="machine")),
        stored(header(key_id=b"2" * 16, name=b"2\0", root_id=b"other root id..!")),
    ]
    contents = read(archive_of(make_store(tmp_path / "store", *keys)), tmp_path)

    assert holdings_of(contents.keys) == Holdings(
        2,
        1,
        0,
        (
            RootNeed(KeyRoot("software", "machine", ROOT.root_id), 2),
            RootNeed(KeyRoot("software", "machine", b"other root id..!"), 1),
        ),
    )


# --- the root ----------------------------------------------------------------------------------


def test_a_root_opens_with_its_password_beside_its_snapshot() -> None:
    sealed = seal_root(b"r" * 16, b"the file", b"a password", b"h" * 32)

    assert open_root(sealed, b"a password", b"h" * 32) == b"the file"
    assert b"the file" not in msgspec.msgpack.encode(sealed)
    other = msgspec.structs.replace(sealed, root_id=b"R" * 16)
    for root, password, snapshot in (
        (sealed, b"A password", b"h" * 32),
        (sealed, b"a password", b"H" * 32),
        (other, b"a password", b"h" * 32),
    ):
        with pytest.raises(NCryptError) as caught:
            open_root(root, password, snapshot)
        assert caught.value.status == DAMAGED


def test_no_two_roots_are_sealed_alike() -> None:
    first, second = (seal_root(b"r" * 16, b"file", b"a password", b"h" * 32) for _ in range(2))

    fields = SealedRoot.__struct_fields__[1:]
    assert all(getattr(first, field) != getattr(second, field) for field in fields)


@pytest.mark.parametrize("length", [0, 7, 1024])
def test_a_password_that_no_root_is_sealed_under(length: int) -> None:
    check_password(b"x" * 8)
    check_password(b"x" * 1023)
    with pytest.raises(NCryptError) as caught:
        check_password(b"x" * length)
    assert caught.value.status == Status.NTE_INVALID_PARAMETER
