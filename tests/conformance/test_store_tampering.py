"""Rows of the store edited by hand: a clear error for that key, and every other one works.

The store is only a place to find sealed keys. What a key is stands in its sealed header, so that
whoever can write the database can destroy keys, and nothing else.
"""

import contextlib
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyiso import Key, KeyUsage, NCryptError, Provider, ncrypt
from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import AccessEntry, KeyHeader, Scope, encode_header
from keyiso.flags import NCRYPT_MACHINE_KEY_FLAG, NCRYPT_PERSIST_FLAG
from keyiso.paths import Instance
from keyiso.status import Status, status_name
from keyiso.store.schema import MACHINE
from keyiso.wire.control import Created, CreateKey, DeleteKey
from keyiso.wire.results import Done
from tests.conformance.raw_client import PROVIDER, RawClient, terms, units
from tests.conformance.statuses import fails
from tests.instance import RunningInstance

DATA = b"data"
COLUMNS = ("key_id", "provider", "partition", "name", "blob", "generation", "modified")
STRANGER = 4242
"""A uid that has no keys here."""


@dataclass
class Row:
    """A row of the table of keys."""

    key_id: bytes
    provider: str
    partition: int
    name: bytes
    blob: bytes
    generation: int
    modified: float


class Store:
    """The database of an instance that is stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def row(self, name: str, partition: int | None = None) -> Row:
        found = self._execute("SELECT * FROM keys WHERE name = ?", (units(name),))
        rows = [Row(*row) for row in found if partition in (None, row[2])]
        assert len(rows) == 1
        return rows[0]

    def rows(self) -> list[Row]:
        return [Row(*row) for row in self._execute("SELECT * FROM keys", ())]

    def change(self, row: Row, **values: Any) -> None:
        """Write other values into columns of a row."""
        assert set(values) <= set(COLUMNS)
        columns = ", ".join(f"{column} = ?" for column in values)
        self._execute(f"UPDATE keys SET {columns} WHERE key_id = ?", (*values.values(), row.key_id))

    def insert(self, row: Row) -> None:
        self._execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(row).values()))

    def delete(self, row: Row) -> None:
        self._execute("DELETE FROM keys WHERE key_id = ?", (row.key_id,))

    def forget_results(self, result: bytes) -> None:
        """What every operation id gave is something else now."""
        self._execute("UPDATE operations SET result = ?", (result,))

    def _execute(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self._path)) as connection, connection:
            return connection.execute(query, values).fetchall()


@dataclass
class Stage:
    """An instance with a key that is tampered with, its neighbours, and handles to all."""

    instance: RunningInstance
    victim: Key
    other: Key
    kept: list[Key] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.instance.instance.store)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Store]:
        """The instance is not running while the block edits its store."""
        self.instance.end()
        yield self.store
        self.instance.start()

    def check_the_others(self) -> None:
        """No other key is harmed: by its handle from before, by its name, in the listing."""
        listed = names()
        for key in self.kept:
            key.verify(key.sign(DATA), DATA)
            name = key.name
            assert name is not None
            with Key.open(name, machine=key.machine) as opened:
                assert opened.unique_name == key.unique_name
            assert name in (names(machine=True) if key.machine else listed)


def kept_keys() -> tuple[Key, Key, list[Key]]:
    """One to tamper with, another one, and those that must not notice."""
    return (
        Key.create("victim", "ECDSA_P256"),
        Key.create("other", "ECDSA_P256"),
        [
            Key.create("kept", "ECDSA_P256"),
            Key.create("kept too", "RSA"),
            Key.create("kept", "ECDSA_P384", machine=True),
        ],
    )


@pytest.fixture
def stage(instance: RunningInstance) -> Stage:
    return Stage(instance, *kept_keys())


def names(*, machine: bool = False) -> list[str]:
    with Provider() as provider:
        return [key.pszName for key in provider.keys(machine=machine)]


def opening(name: str, *, machine: bool = False) -> str:
    """What comes of opening a key: OK, or the name of the status."""
    try:
        Key.open(name, machine=machine).close()
    except NCryptError as error:
        return status_name(error.status)
    return "OK"


def deletion_by_name(name: str, scope: Scope = "user") -> DeleteKey:
    """The request that deletes a damaged key, and only that."""
    return DeleteKey(os.urandom(16), PROVIDER, scope, units(name), b"")


def works(key: Key) -> bool:
    key.verify(key.sign(DATA), DATA)
    return True


# --- edits -------------------------------------------------------------------------------------


def flipped(blob: bytes, place: int) -> bytes:
    changed = bytearray(blob)
    changed[place] ^= 1
    return bytes(changed)


def with_header(blob: bytes, **changes: Any) -> bytes:
    """The blob with fields of its header replaced by somebody who knows the format well."""
    (length,) = struct.unpack_from("<I", blob, 1)
    header: KeyHeader = msgspec.structs.replace(read_header(blob), **changes)
    encoded = encode_header(header)
    return blob[:1] + struct.pack("<I", len(encoded)) + encoded + blob[5 + length :]


def header_end(blob: bytes) -> int:
    (length,) = struct.unpack_from("<I", blob, 1)
    return int(5 + length)


Edit = Callable[[Store, Row], None]


def blob(change: Callable[[bytes], bytes]) -> Edit:
    return lambda store, row: store.change(row, blob=change(row.blob))


def column(**values: Any) -> Edit:
    return lambda store, row: store.change(row, **values)


STRANGERS = AccessEntry("uid", str(STRANGER), 3)
EVERYBODY = (AccessEntry("uid", str(os.geteuid()), 3), STRANGERS)

DAMAGED_BLOBS: dict[str, tuple[Edit, str]] = {
    "last byte flipped": (blob(lambda b: flipped(b, -1)), "NTE_BAD_DATA"),
    "ciphertext flipped": (blob(lambda b: flipped(b, -20)), "NTE_BAD_DATA"),
    "nonce flipped": (blob(lambda b: flipped(b, header_end(b))), "NTE_BAD_DATA"),
    "header flipped": (blob(lambda b: flipped(b, 5)), "NTE_BAD_DATA"),
    "length of the header": (blob(lambda b: flipped(b, 1)), "NTE_BAD_DATA"),
    "version": (blob(lambda b: b"\x09" + b[1:]), "NTE_BAD_VER"),
    "cut short": (blob(lambda b: b[:-1]), "NTE_BAD_DATA"),
    "cut in the header": (blob(lambda b: b[:40]), "NTE_BAD_DATA"),
    "empty": (blob(lambda b: b""), "NTE_BAD_DATA"),
    "longer": (blob(lambda b: b + b"\0"), "NTE_BAD_DATA"),
    "much longer": (blob(lambda b: b + bytes(1 << 20)), "NTE_BAD_DATA"),
    "zeros": (blob(lambda b: bytes(len(b))), "NTE_BAD_VER"),
    "access list": (blob(lambda b: with_header(b, access=EVERYBODY)), "NTE_BAD_DATA"),
    "access list emptied": (blob(lambda b: with_header(b, access=())), "NTE_BAD_DATA"),
    "owner": (blob(lambda b: with_header(b, owner=STRANGER)), "NTE_BAD_DATA"),
    "somebody else's": (
        blob(lambda b: with_header(b, owner=STRANGER, access=(STRANGERS,))),
        "NTE_BAD_DATA",
    ),
    "usage": (blob(lambda b: with_header(b, usage=0xFFFFFF)), "NTE_BAD_DATA"),
    "export policy": (blob(lambda b: with_header(b, export_policy=3)), "NTE_BAD_DATA"),
    "origin": (blob(lambda b: with_header(b, origin="imported")), "NTE_BAD_DATA"),
    "level": (blob(lambda b: with_header(b, level="hardware")), "NTE_BAD_DATA"),
    "algorithm": (blob(lambda b: with_header(b, algorithm="RSA")), "NTE_BAD_DATA"),
    "unknown algorithm": (blob(lambda b: with_header(b, algorithm="none")), "NTE_BAD_DATA"),
    "public key": (blob(lambda b: with_header(b, public_key=b"none")), "NTE_BAD_DATA"),
    "root": (blob(lambda b: with_header(b, root_id=bytes(16))), "NTE_BAD_DATA"),
}
DAMAGED_ROWS: dict[str, tuple[Edit, str]] = {
    "generation": (column(generation=7), "NTE_BAD_DATA"),
    "generation of row and header": (
        lambda store, row: store.change(
            row, generation=7, blob=with_header(row.blob, generation=7)
        ),
        "NTE_BAD_DATA",
    ),
    "key id": (lambda store, row: store.change(row, key_id=os.urandom(16)), "NTE_BAD_DATA"),
    "key id of row and header": (
        lambda store, row: store.change(
            row, key_id=(key_id := os.urandom(16)), blob=with_header(row.blob, key_id=key_id)
        ),
        "NTE_BAD_DATA",
    ),
}
MOVED_ROWS: dict[str, Edit] = {
    "name": column(name=units("name renamed")),
    "name of row and header": lambda store, row: store.change(
        row,
        name=units("name of row and header renamed"),
        blob=with_header(row.blob, name=units("name of row and header renamed")),
    ),
    "moved to another owner": column(partition=STRANGER),
    "scope": column(partition=-1),
    "provider": column(provider="another provider"),
    "deleted": lambda store, row: store.delete(row),
}
IN_PLACE = DAMAGED_BLOBS | DAMAGED_ROWS


# --- one row -----------------------------------------------------------------------------------

PURPOSES = ("look", "delete", "delete by name", "handle", "overwrite")
"""What is tried with a damaged key: each with a key of its own, all damaged at one stop."""


@dataclass
class Damaged:
    """Keys that were damaged while their instance was stopped, and handles to them from before."""

    stage: Stage
    keys: dict[str, Key] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    """As they are after the edit, where they still are."""


def victim(title: str, purpose: str = "look") -> str:
    return f"{title} to {purpose}"


@pytest.fixture(scope="module")
def damaged(shared_instance: RunningInstance) -> Damaged:
    stage = Stage(shared_instance, *kept_keys())
    names_of_victims = [
        *(victim(title, purpose) for title in IN_PLACE for purpose in PURPOSES),
        *(victim(title) for title in MOVED_ROWS),
    ]
    keys = {name: Key.create(name, "ECDSA_P256", usage=KeyUsage.SIGN) for name in names_of_victims}
    damaged = Damaged(stage, keys)
    with stage.stopped() as store:
        for title, (edit, _) in IN_PLACE.items():
            for purpose in PURPOSES:
                edit(store, store.row(victim(title, purpose)))
        for title, move in MOVED_ROWS.items():
            move(store, store.row(victim(title)))
        for row in store.rows():
            damaged.rows[row.name.decode("utf-16-le")] = row
    return damaged


@pytest.mark.parametrize("title", IN_PLACE)
def test_a_damaged_key_is_an_error_of_its_own(damaged: Damaged, title: str) -> None:
    """At open, and at the next use of a handle from before; and it is listed, to be dealt with."""
    name, status = victim(title), IN_PLACE[title][1]

    assert opening(name) == status
    with pytest.raises(NCryptError) as caught:
        damaged.keys[name].sign(DATA)
    assert status_name(caught.value.status) == status
    assert name in names()
    damaged.stage.check_the_others()


@pytest.mark.parametrize("title", MOVED_ROWS)
def test_a_moved_key_is_not_found(damaged: Damaged, title: str) -> None:
    """Where it was there is no key; where it is now it is not one."""
    name = victim(title)

    assert opening(name) == "NTE_BAD_KEYSET"
    with fails(Status.NTE_BAD_KEYSET):
        damaged.keys[name].sign(DATA)
    assert name not in names()
    if title.startswith("name"):
        assert opening(title + " renamed") == "NTE_BAD_DATA"
        assert title + " renamed" in names()
    if title == "scope":
        assert opening(name, machine=True) == "NTE_BAD_DATA"
        assert name in names(machine=True)
    damaged.stage.check_the_others()


@pytest.mark.parametrize("title", IN_PLACE)
def test_a_damaged_key_can_be_deleted(damaged: Damaged, title: str) -> None:
    """By whoever could have deleted it whole: the service asks the row, not the header, for it."""
    name = victim(title, "delete")

    with RawClient.bound(damaged.stage.instance.instance.control_socket) as client:
        delete = DeleteKey(os.urandom(16), PROVIDER, "user", units(name), damaged.rows[name].key_id)
        assert client.call(delete) == Done()

    assert name not in names()
    assert works(Key.create(name, "ECDSA_P256"))


@pytest.mark.parametrize("title", IN_PLACE)
def test_a_damaged_key_can_be_deleted_by_name(damaged: Damaged, title: str) -> None:
    """Without an id, which nobody can know of a key that does not open; and again, after a lost
    answer."""
    name = victim(title, "delete by name")

    with RawClient.bound(damaged.stage.instance.instance.control_socket) as client:
        delete = deletion_by_name(name)
        assert client.call(delete) == Done()
        successor = Key.create(name, "ECDSA_P256")
        assert client.call(delete) == Done()

    assert works(successor)
    damaged.stage.check_the_others()


@pytest.mark.parametrize("title", DAMAGED_BLOBS)
def test_a_handle_from_before_deletes_a_damaged_key(damaged: Damaged, title: str) -> None:
    name = victim(title, "handle")

    damaged.keys[name].delete()

    assert name not in names()


@pytest.mark.parametrize("title", IN_PLACE)
def test_the_name_of_a_damaged_key_can_be_taken_back(damaged: Damaged, title: str) -> None:
    """Without any handle to it, which a new process cannot get: by overwriting."""
    name = victim(title, "overwrite")

    new = Key.create(name, "ECDSA_P256", overwrite=True)

    assert works(new)
    assert Key.open(name).unique_name == new.unique_name


def test_what_was_damaged_works_when_it_is_put_back(stage: Stage) -> None:
    """Nothing was lost: the services did not touch what they could not read."""
    edits = {title: edit for title, (edit, _) in IN_PLACE.items()} | MOVED_ROWS
    keys = {title: Key.create(victim(title), "ECDSA_P256", usage=KeyUsage.SIGN) for title in edits}
    with stage.stopped() as store:
        before = store.rows()
        for title, edit in edits.items():
            edit(store, store.row(victim(title)))
        edited = store.rows()
    for title in edits:
        assert opening(victim(title)) != "OK"
    names()

    with stage.stopped() as store:
        assert store.rows() == edited
        for row in edited:
            store.delete(row)
        for row in before:
            store.insert(row)

    for title, key in keys.items():
        assert opening(victim(title)) == "OK"
        assert works(key)
    stage.check_the_others()


def test_the_time_of_a_row_is_only_information(stage: Stage) -> None:
    with stage.stopped() as store:
        store.change(store.row("victim"), modified=-1.0)

    assert works(stage.victim)
    assert opening("victim") == "OK"


# --- two rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["blobs", "blobs and key ids", "names"])
def test_swapped_rows(stage: Stage, how: str) -> None:
    """No handle and no name ever leads to the other key."""
    with stage.stopped() as store:
        one, two = store.row("victim"), store.row("other")
        store.delete(one)
        store.delete(two)
        one.blob, two.blob = two.blob, one.blob
        if how != "blobs":
            one.key_id, two.key_id = two.key_id, one.key_id
        store.insert(one)
        store.insert(two)

    for key, name in ((stage.victim, "victim"), (stage.other, "other")):
        assert opening(name) == "NTE_BAD_DATA"
        with fails(Status.NTE_BAD_DATA):
            key.sign(DATA)
        assert name in names()
    stage.check_the_others()


def test_the_key_of_another_scope(stage: Stage) -> None:
    """A user's key under the machine's name, with everything in the row made to fit."""
    Key.create("machine's", "ECDSA_P256", machine=True)
    with stage.stopped() as store:
        machine, user = store.row("machine's"), store.row("other")
        store.delete(machine)
        store.delete(user)
        machine.blob, machine.key_id = user.blob, user.key_id
        store.insert(machine)

    assert opening("machine's", machine=True) == "NTE_BAD_DATA"
    stage.check_the_others()


@pytest.fixture
def foreign(tmp_path: Path) -> Instance:
    """An instance of the same user with keys of its own, that ran once."""
    running = RunningInstance(tmp_path / "foreign")
    running.start()
    make_keys = "from keyiso import Key\nfor name in ('victim', 'foreign'): Key.create(name, 'RSA')"
    subprocess.run([sys.executable, "-c", make_keys], env=running.environ, check=True)
    running.end()
    return running.instance


def test_a_row_of_another_instance(stage: Stage, foreign: Instance) -> None:
    """Same names, same user, another root: it does not open, and its header is not believed."""
    there = Store(foreign.store)
    with stage.stopped() as store:
        store.delete(store.row("victim"))
        store.insert(there.row("victim"))
        store.insert(there.row("foreign"))

    for name in ("victim", "foreign"):
        assert opening(name) == "NTE_BAD_DATA"
        assert name in names()
    with fails(Status.NTE_BAD_DATA):
        stage.victim.sign(DATA)
    stage.check_the_others()


def test_an_old_row_that_is_put_back(stage: Stage) -> None:
    """A key that was deleted opens again from a copy of its row: rollback is not stopped yet, and
    keys say so. It is the very same key, so that no handle means another one."""
    assert any("rollback" in line for line in stage.victim.protection.not_stopped)
    unique_name = stage.victim.unique_name
    with stage.stopped() as store:
        copy = store.row("victim")
    stage.victim.delete()
    assert opening("victim") == "NTE_BAD_KEYSET"

    with stage.stopped() as store:
        store.insert(copy)

    assert Key.open("victim").unique_name == unique_name


# --- deleting by name --------------------------------------------------------------------------


def test_an_intact_key_is_not_deleted_by_its_name(stage: Stage) -> None:
    """Whatever the client says: the service, and a worker, look for themselves."""
    with RawClient.bound(stage.instance.instance.control_socket) as client:
        assert client.status(deletion_by_name("victim")) == Status.NTE_BAD_KEY_STATE
        assert client.status(deletion_by_name("kept", "machine")) == Status.NTE_BAD_KEY_STATE
        assert client.status(deletion_by_name("nobody")) == Status.NTE_BAD_KEYSET

    assert works(stage.victim)
    stage.check_the_others()


def test_a_key_that_only_lacks_its_root_is_not_deleted_by_its_name(stage: Stage) -> None:
    root = stage.instance.instance.software_machine_root
    with stage.stopped():
        root.rename(root.with_name("elsewhere"))
    assert opening("victim") == "KEYISO_E_ROOT_MISSING"

    with RawClient.bound(stage.instance.instance.control_socket) as client:
        assert client.status(deletion_by_name("victim")) == Status.KEYISO_E_ROOT_MISSING

    with stage.stopped():
        root.with_name("elsewhere").rename(root)
    assert works(stage.victim)


def test_damaged_machine_keys_are_deleted_by_who_manages_them(stage: Stage) -> None:
    """Also where the access list that somebody wrote into one names nobody."""
    for title in DAMAGED_BLOBS:
        Key.create(title, "ECDSA_P256", machine=True, usage=KeyUsage.SIGN).close()
    with stage.stopped() as store:
        for title, (edit, _) in DAMAGED_BLOBS.items():
            edit(store, store.row(title))
    stage.check_the_others()  # a worker is there to be asked

    with RawClient.bound(stage.instance.instance.control_socket) as client:
        for title in DAMAGED_BLOBS:
            assert client.call(deletion_by_name(title, "machine")) == Done()

    assert names(machine=True) == ["kept"]


# --- listings ----------------------------------------------------------------------------------


def test_a_damaged_machine_key_is_listed_for_who_manages_it(stage: Stage) -> None:
    Key.create("of the machine", "ECDSA_P256", machine=True)
    with stage.stopped() as store:
        row = store.row("of the machine")
        store.change(row, blob=flipped(row.blob, 5))

    assert opening("of the machine", machine=True) == "NTE_BAD_DATA"
    assert "of the machine" in names(machine=True)
    stage.check_the_others()


@pytest.mark.parametrize(
    "name",
    [b"odd", b"", b"a\0\0\0", b"\xff" * 5000],
    ids=["odd", "empty", "NUL", "5000 bytes"],
)
def test_a_name_that_is_none_does_not_end_the_listing(stage: Stage, name: bytes) -> None:
    with stage.stopped() as store:
        store.change(store.row("victim"), name=name)

    assert {"kept", "kept too", "other"} <= set(names())
    stage.check_the_others()


# --- roots -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "result",
    [b"", b"\xc1", b"\x92\xc0\xc0", b"\x91" * 20_000],
    ids=["empty", "none", "wrong", "deep"],
)
def test_a_repeat_of_what_is_remembered_no_more(stage: Stage, result: bytes) -> None:
    """The first result is damaged: better an error than a second key."""
    create = CreateKey(terms("new"))
    with RawClient.bound(stage.instance.instance.control_socket) as client:
        assert isinstance(client.call(create), Created)
        stage.store.forget_results(result)
        assert status_name(client.status(create)) == "KEYISO_E_STORE"
    assert names().count("new") == 1
    stage.check_the_others()


def test_a_missing_root(stage: Stage) -> None:
    """Stored keys wait for it; nothing new is sealed by another; ephemeral keys do not need it."""
    root = stage.instance.instance.software_machine_root
    with stage.stopped():
        root.rename(root.with_name("elsewhere"))

    assert opening("victim") == "KEYISO_E_ROOT_MISSING"
    with fails(Status.KEYISO_E_ROOT_MISSING):
        stage.victim.sign(DATA)
    with fails(Status.KEYISO_E_ROOT_MISSING):
        Key.create("new", "ECDSA_P256")
    assert works(Key.create(None, "ECDSA_P256"))
    assert {"victim", "other", "kept"} <= set(names())
    assert not root.exists()

    with stage.stopped():
        root.with_name("elsewhere").rename(root)

    assert works(stage.victim)
    stage.check_the_others()


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x01garbage"], ids=["empty", "garbage", "right version"]
)
def test_a_damaged_root(stage: Stage, content: bytes) -> None:
    """As a missing one: the service starts, and says of each stored key what it lacks."""
    root = stage.instance.instance.software_machine_root
    right = root.read_bytes()
    with stage.stopped():
        root.write_bytes(content)

    with fails(Status.KEYISO_E_ROOT_MISSING):
        stage.victim.sign(DATA)
    assert works(Key.create(None, "ECDSA_P256"))
    assert root.read_bytes() == content

    with stage.stopped():
        root.write_bytes(right)

    assert works(stage.victim)
    stage.check_the_others()


def test_the_root_of_another_instance(stage: Stage, foreign: Instance) -> None:
    root = stage.instance.instance.software_machine_root
    right = root.read_bytes()
    with stage.stopped():
        root.write_bytes(foreign.software_machine_root.read_bytes())

    assert opening("victim") == "NTE_BAD_DATA"
    assert works(Key.create(None, "ECDSA_P256"))

    with stage.stopped():
        root.write_bytes(right)

    assert works(stage.victim)
    stage.check_the_others()


def test_a_root_that_went_before_there_was_a_key(instance: RunningInstance) -> None:
    """Over no keys a new one is made: a first start that was cut short is no dead end."""
    instance.end()
    instance.instance.software_machine_root.unlink(missing_ok=True)
    instance.start()

    assert works(Key.create("first", "ECDSA_P256"))


def test_a_lost_store_is_an_empty_one(stage: Stage) -> None:
    """No key is there, by any handle; new ones can be made under the root that exists."""
    with stage.stopped():
        for file in stage.instance.instance.store.parent.iterdir():
            file.unlink()

    assert opening("victim") == "NTE_BAD_KEYSET"
    with fails(Status.NTE_BAD_KEYSET):
        stage.victim.sign(DATA)
    provider = ncrypt.NCryptOpenStorageProvider()
    for scope in (0, NCRYPT_MACHINE_KEY_FLAG):
        with fails(Status.NTE_NO_MORE_ITEMS):
            ncrypt.NCryptEnumKeys(provider, None, None, scope)
    assert works(Key.create("victim", "ECDSA_P256"))


@pytest.mark.parametrize("content", [b"no database" * 100, b"\0" * 4096], ids=["text", "zeros"])
def test_a_store_that_is_none(stage: Stage, content: bytes) -> None:
    """It is left as it is, and said; what needs no store goes on."""
    store = stage.instance.instance.store
    with stage.stopped():
        files = {file: file.read_bytes() for file in store.parent.iterdir()}
        for file in files:
            file.unlink()
        store.write_bytes(content)

    with fails(Status.KEYISO_E_STORE) as caught:
        Key.open("victim")
    assert str(store) in caught.value.cause
    with fails(Status.KEYISO_E_STORE):
        Key.create("new", "ECDSA_P256")
    assert store.read_bytes() == content

    with stage.stopped():
        store.unlink()
        for file, data in files.items():
            file.write_bytes(data)

    assert works(stage.victim)
    stage.check_the_others()


# --- properties --------------------------------------------------------------------------------

NOTE = "Note"
OTHER_NOTE = "Other note"


def put(key: Key, name: str, value: bytes) -> None:
    ncrypt.NCryptSetProperty(key.handle, name, value, NCRYPT_PERSIST_FLAG)


def note(key: Key) -> bytes:
    return ncrypt.NCryptGetProperty(key.handle, NOTE)


@pytest.mark.parametrize(
    ("edit", "status"),
    [
        ("substr(value, 1, 20)", Status.NTE_BAD_DATA),
        ("x''", Status.NTE_BAD_DATA),
        ("value || x'00'", Status.NTE_BAD_DATA),
        ("x'02' || substr(value, 2)", Status.NTE_BAD_VER),
        ("substr(value, 1, 30) || x'0000' || substr(value, 33)", Status.NTE_BAD_DATA),
        (
            "(SELECT value FROM properties WHERE name = :other AND key_id = :key)",
            Status.NTE_BAD_DATA,
        ),
        (
            "(SELECT value FROM properties WHERE name = :note AND key_id != :key)",
            Status.NTE_BAD_DATA,
        ),
    ],
    ids=["cut", "empty", "longer", "a version", "changed", "of another name", "of another key"],
)
def test_a_damaged_property_is_an_error_of_its_own(stage: Stage, edit: str, status: Status) -> None:
    put(stage.victim, NOTE, b"of the victim")
    put(stage.victim, OTHER_NOTE, b"something else")
    put(stage.other, NOTE, b"of the other")
    places = {
        "note": units(NOTE),
        "other": units(OTHER_NOTE),
        "key": bytes.fromhex(stage.victim.unique_name),
    }
    with stage.stopped(), contextlib.closing(sqlite3.connect(stage.instance.instance.store)) as db:
        changed = db.execute(
            f"UPDATE properties SET value = CAST({edit} AS BLOB)"
            " WHERE name = :note AND key_id = :key",
            places,
        )
        assert changed.rowcount == 1
        db.commit()

    with fails(status):
        note(stage.victim)

    assert note(stage.other) == b"of the other"
    assert works(stage.victim)
    put(stage.victim, NOTE, b"set again")
    assert note(stage.victim) == b"set again"


def test_an_access_list_in_the_store_is_not_believed(stage: Stage) -> None:
    """It is part of the sealed header: who edits the store does not get a machine key."""
    key = stage.kept[2]
    assert key.machine
    row = stage.store.row("kept", MACHINE)
    stranger = (AccessEntry("uid", str(STRANGER), 3),)
    own = (*read_header(row.blob).access, *stranger)
    with stage.stopped() as store:
        store.change(row, blob=with_header(row.blob, access=stranger))

    with fails(Status.NTE_BAD_KEYSET):
        Key.open("kept", machine=True)

    with stage.stopped() as store:
        store.change(row, blob=with_header(row.blob, access=own))
    with fails(Status.NTE_BAD_DATA):
        Key.open("kept", machine=True)
