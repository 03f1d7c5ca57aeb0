"""The store: a database of its own, changes in groups, and what is remembered of them."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyiso import limits
from keyiso.errors import KeyExistsError, NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.store.keys import KeyReader, Remembered, StoredKey, StoredProperty
from keyiso.store.schema import APPLICATION_ID, MACHINE, SCHEMA_VERSION, open_database
from keyiso.store.writer import KeyTransaction, KeyWriter
from tests.unit.fake_clock import FakeClock

SOFTWARE = "Microsoft Software Key Storage Provider"
PLATFORM = "Microsoft Platform Crypto Provider"
BOOT, OTHER_BOOT = b"b" * 16, b"c" * 16
TIMEOUT_SECONDS = 60

Change = Callable[[KeyTransaction], Any]


def stored(
    number: int, name: str = "name", *, partition: int = 1000, provider: str = SOFTWARE
) -> StoredKey:
    return StoredKey(
        number.to_bytes(16, "big"),
        provider,
        partition,
        name.encode("utf-16-le", "surrogatepass"),
        b"blob %d" % number,
        1,
        1_700_000_000.5,
    )


def insert(*keys: StoredKey) -> Change:
    """The change that adds keys."""

    def change(transaction: KeyTransaction) -> None:
        for key in keys:
            transaction.insert(key)

    return change


class Store:
    """A store with its writer, and a reader on another connection."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock()
        self.writer = KeyWriter(path, self.clock)
        self._connection = open_database(path)
        self.read = KeyReader(self._connection, path)

    def start(self, change: Change) -> Callable[[], Any]:
        """Submit a change; the result is waited for by calling what is returned."""
        told = threading.Event()
        outcomes: list[Callable[[], Any]] = []

        def done(outcome: Callable[[], Any]) -> None:
            outcomes.append(outcome)
            told.set()

        self.writer.submit(change, done)

        def result() -> Any:
            assert told.wait(TIMEOUT_SECONDS), "the change was never told of its outcome"
            (outcome,) = outcomes
            return outcome()

        return result

    def change(self, change: Change) -> Any:
        return self.start(change)()

    def add(self, *keys: StoredKey) -> None:
        self.change(insert(*keys))

    def close(self) -> None:
        self.writer.close()
        self._connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(Store(path)) as made:
        yield made


def status_of(action: Callable[[], object]) -> int:
    with pytest.raises(NCryptError) as caught:
        action()
    return caught.value.status


# --- opening -----------------------------------------------------------------------------------


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def test_a_new_store_is_made_with_its_schema(path: Path) -> None:
    with closing(open_database(path)) as connection:
        tables = {
            name: sql
            for name, sql in connection.execute("SELECT name, sql FROM sqlite_schema")
            if sql and sql.startswith("CREATE TABLE")
        }

        assert set(tables) == {"key_counts", "keys", "operations", "properties", "revocations"}
        assert all("STRICT" in sql for sql in tables.values())
        assert pragma(connection, "application_id") == APPLICATION_ID
        assert pragma(connection, "user_version") == SCHEMA_VERSION


def test_nothing_is_lost_and_nothing_deleted_stays(path: Path) -> None:
    """What a commit promises, and what a deleted key leaves behind, are settings of SQLite."""
    with closing(open_database(path)) as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2  # FULL
        assert pragma(connection, "secure_delete") == 1
        assert pragma(connection, "trusted_schema") == 0


def test_a_store_is_opened_again_as_it_was(path: Path) -> None:
    with closing(Store(path)) as store:
        store.add(stored(1))
    with closing(Store(path)) as store:
        assert store.read.find(SOFTWARE, 1000, stored(1).name) == stored(1)


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with closing(open_database(path)) as connection:
        assert pragma(connection, "user_version") == SCHEMA_VERSION


VERSION_1 = """
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
INSERT INTO keys VALUES (x'01', 'p', 1000, x'6100', x'b1', 3, 1.5);
INSERT INTO keys VALUES (x'02', 'p', 1000, x'6200', x'b2', 1, 2.5);
INSERT INTO keys VALUES (x'03', 'p', -1, x'6100', x'b3', 1, 3.5);
INSERT INTO operations VALUES (1000, x'0a', x'0b', x'0c', 1699999999.0);
INSERT INTO revocations VALUES (x'0d', x'0e');
PRAGMA application_id = 1802072881;
PRAGMA user_version = 1;
"""
"""A store of the first version with some rows, as that version made it."""


def test_a_store_of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it(
    path: Path,
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    with closing(Store(path)) as store:
        assert store.read.find("p", 1000, b"a\0") == StoredKey(
            b"\1", "p", 1000, b"a\0", b"\xb1", 3, 1.5
        )
        assert [store.read.key_count(one) for one in (1000, MACHINE, 0)] == [2, 1, 0]
        assert store.read.remembered(1000, b"\n") == Remembered(b"\x0b", b"\x0c")
        assert store.read.revoked() == (b"\r",)
        assert [store.read.changes(one) for one in (1000, MACHINE, 0)] == [0, 0, 0]
        store.add(stored(9))
        assert store.read.key_count(1000) == 3
        assert store.read.changes(1000) == 1
    with closing(open_database(path)) as connection:
        assert pragma(connection, "user_version") == SCHEMA_VERSION


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(path: Path) -> None:
    """Each step is a transaction: power may go in the middle of it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1 + "CREATE TABLE key_counts (in_the_way INTEGER);")
    before = path.read_bytes()

    assert status_of(lambda: open_database(path)) == Status.KEYISO_E_STORE
    with closing(sqlite3.connect(path)) as connection:
        assert pragma(connection, "user_version") == 1
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (3,)
    assert len(path.read_bytes()) == len(before)


def make_database(path: Path, *statements: str) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path.read_bytes()


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE keys (key_id BLOB)",),
        ("PRAGMA user_version = 1",),
        ("PRAGMA application_id = 4711", "PRAGMA user_version = 1", "CREATE TABLE t (x)"),
        ("PRAGMA application_id = 4711",),
    ],
    ids=["tables", "a version", "an application with tables", "an application"],
)
def test_a_database_of_another_application_is_refused_and_left_alone(
    path: Path, statements: tuple[str, ...]
) -> None:
    before = make_database(path, *statements)

    with pytest.raises(NCryptError, match="a database of something else") as caught:
        open_database(path)
    assert caught.value.status == Status.KEYISO_E_STORE
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 2**31 - 1])
def test_a_newer_schema_is_refused_and_left_alone(path: Path, version: int) -> None:
    open_database(path).close()
    before = make_database(path, f"PRAGMA user_version = {version}")

    with pytest.raises(
        NCryptError, match=f"schema version {version}; .* {SCHEMA_VERSION}"
    ) as caught:
        open_database(path)
    assert caught.value.status == Status.KEYISO_E_STORE
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"this is no database at all\n" * 100, b"SQLite format 3\0" + bytes(4080)]
)
def test_what_is_no_database_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert status_of(lambda: open_database(path)) == Status.KEYISO_E_STORE
    assert path.read_bytes() == content


def test_a_damaged_schema_that_is_no_text_is_a_store_error(path: Path) -> None:
    """SQLite quotes it in its message."""
    open_database(path).close()
    content = path.read_bytes().replace(b"CREATE TABLE keys", b"CREATE TAB\xff\xff keys")
    path.write_bytes(content)

    assert status_of(lambda: open_database(path)) == Status.KEYISO_E_STORE


def test_a_directory_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    assert status_of(lambda: open_database(tmp_path / "no" / "x.sqlite3")) == Status.KEYISO_E_STORE
    assert status_of(lambda: open_database(tmp_path)) == Status.KEYISO_E_STORE


def test_an_error_of_the_store_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(NCryptError, match=str(tmp_path)):
        open_database(tmp_path)


# --- reading -----------------------------------------------------------------------------------


def test_a_key_is_found_by_all_of_its_name_and_nothing_else(store: Store) -> None:
    store.add(
        stored(1, "Web"),
        stored(2, "web"),
        stored(3, "web", partition=1001),
        stored(4, "web", partition=MACHINE),
        stored(5, "web", provider=PLATFORM),
        stored(6, "webs"),
        stored(7, "we"),
        stored(8, "é"),
        stored(9, "e\u0301"),
        stored(10, "\ud800"),
        stored(11, "%"),
        stored(12, "web "),
    )

    def found(name: str, partition: int = 1000, provider: str = SOFTWARE) -> int | None:
        key = store.read.find(provider, partition, name.encode("utf-16-le", "surrogatepass"))
        return None if key is None else int.from_bytes(key.key_id, "big")

    assert (found("Web"), found("web"), found("web", 1001)) == (1, 2, 3)
    assert (found("web", MACHINE), found("web", 1000, PLATFORM)) == (4, 5)
    assert (found("webs"), found("we"), found("web ")) == (6, 7, 12)
    assert (found("é"), found("e\u0301"), found("\ud800")) == (8, 9, 10)
    assert found("%") == 11
    assert {found(name) for name in ("WEB", "w%", "w_b", "wEb", "webss", "e")} == {None}
    assert found("web", 0) is None
    assert found("web", 1000, PLATFORM.lower()) is None
    assert store.read.find(SOFTWARE, 1000, b"") is None


def test_a_key_comes_back_with_every_column(store: Store) -> None:
    key = StoredKey(b"\0" * 16, "p", 2**32 - 2, b"\0\xff", b"\0blob\xff", 2**40, 0.125)
    store.add(key)

    assert store.read.find("p", 2**32 - 2, b"\0\xff") == key


def test_pages_hold_every_name_once_in_the_order_of_its_bytes(store: Store) -> None:
    names = [f"key {number}" for number in range(25)] + ["Ω", "ä", "\ud800", "a\u0100", "Z"]
    store.add(*(stored(number, name) for number, name in enumerate(names)))
    store.add(stored(1000, "x", partition=MACHINE), stored(1001, "x", provider=PLATFORM))

    after, found = b"", []
    while page := store.read.page(SOFTWARE, 1000, after, 7):
        assert len(page) <= 7
        found += [key.name for key in page]
        after = page[-1].name

    assert found == sorted(name.encode("utf-16-le", "surrogatepass") for name in names)


def test_a_page_goes_on_behind_a_key_that_was_deleted_meanwhile(store: Store) -> None:
    store.add(*(stored(number, f"{number}") for number in range(5)))
    _, second = store.read.page(SOFTWARE, 1000, b"", 2)
    store.change(lambda change: change.delete(second.key_id))

    assert [key.key_id for key in store.read.page(SOFTWARE, 1000, second.name, 2)] == [
        stored(2).key_id,
        stored(3).key_id,
    ]


# --- writing -----------------------------------------------------------------------------------


def test_a_change_is_there_for_others_when_it_is_told_of_success(store: Store) -> None:
    store.add(stored(1))
    with closing(open_database(store.path)) as connection:
        assert KeyReader(connection, store.path).find(SOFTWARE, 1000, stored(1).name) == stored(1)


def test_a_change_returns_its_value(store: Store) -> None:
    assert store.change(lambda change: ("value", change.now)) == ("value", store.clock.time())


def test_a_change_sees_what_was_changed_before_it(store: Store) -> None:
    added = store.start(insert(stored(1)))
    find = store.start(lambda change: change.find(SOFTWARE, 1000, stored(1).name))
    added()

    assert find() == stored(1)


def test_two_keys_of_one_name_are_refused(store: Store) -> None:
    store.add(stored(1))

    assert status_of(lambda: store.add(stored(2))) == Status.KEYISO_E_STORE
    assert status_of(lambda: store.add(stored(1, "another"))) == Status.KEYISO_E_STORE
    assert [key.key_id for key in store.read.page(SOFTWARE, 1000, b"", 9)] == [stored(1).key_id]
    store.add(stored(3, partition=1001), stored(4, provider=PLATFORM))


def test_a_change_that_fails_is_undone_alone(store: Store) -> None:
    """It shares its commit with others, before and behind it."""

    def fails(change: KeyTransaction) -> None:
        change.insert(stored(2, "second"))
        change.revoke(b"r" * 16, BOOT)
        raise ncrypt_error(Status.NTE_EXISTS, "on second thoughts")

    def breaks(change: KeyTransaction) -> None:
        change.insert(stored(3, "third"))
        raise KeyError("a defect")

    results = together(
        store,
        insert(stored(1, "first")),
        fails,
        breaks,
        insert(stored(4, "fourth"), stored(5, "fourth")),
        insert(stored(6, "sixth")),
    )

    results[0]()
    with pytest.raises(KeyExistsError, match="on second thoughts"):
        results[1]()
    with pytest.raises(KeyError, match="a defect"):
        results[2]()
    assert status_of(results[3]) == Status.KEYISO_E_STORE
    results[4]()
    names = [key.name.decode("utf-16-le") for key in store.read.page(SOFTWARE, 1000, b"", 9)]
    assert names == ["first", "sixth"]
    assert store.read.revoked() == ()


def hold_up(store: Store) -> Callable[[], None]:
    """Keep the writer in a change until what is returned is called."""
    held, go_on = threading.Event(), threading.Event()

    def hold(change: KeyTransaction) -> None:
        held.set()
        assert go_on.wait(TIMEOUT_SECONDS)

    holding = store.start(hold)
    assert held.wait(TIMEOUT_SECONDS)

    def release() -> None:
        go_on.set()
        holding()

    return release


def together(store: Store, *changes: Change) -> list[Callable[[], Any]]:
    """Submit changes that wait at the same time."""
    release = hold_up(store)
    results = [store.start(change) for change in changes]
    release()
    return results


def test_changes_that_wait_together_share_one_commit(store: Store) -> None:
    """Seen from outside: when the first is told of success, the last is committed too."""
    seen: list[int] = []
    told = threading.Event()

    def look(outcome: Callable[[], Any]) -> None:
        with closing(open_database(store.path)) as connection:
            seen.append(len(KeyReader(connection, store.path).page(SOFTWARE, 1000, b"", 99)))
        told.set()

    release = hold_up(store)
    store.writer.submit(insert(stored(0, "0")), look)
    rest = [store.start(insert(stored(number, f"{number}"))) for number in range(1, 20)]
    release()
    assert told.wait(TIMEOUT_SECONDS)
    for result in rest:
        result()

    assert seen == [20]


def test_more_changes_than_a_group_holds_are_all_made_in_their_order(store: Store) -> None:
    order: list[int] = []

    def note(number: int) -> Change:
        return lambda change: order.append(number)

    for result in together(store, *map(note, range(300))):
        result()

    assert order == list(range(300))


def test_nobody_is_told_before_the_commit(store: Store) -> None:
    """When telling begins, another connection sees the change."""
    seen: list[object] = []
    told = threading.Event()

    def done(outcome: Callable[[], Any]) -> None:
        with closing(open_database(store.path)) as connection:
            seen.append(KeyReader(connection, store.path).find(SOFTWARE, 1000, stored(1).name))
        told.set()

    store.writer.submit(insert(stored(1)), done)
    assert told.wait(TIMEOUT_SECONDS)

    assert seen == [stored(1)]


def test_a_store_that_cannot_be_written_fails_every_change_and_not_the_writer(
    store: Store,
) -> None:
    store.add(stored(1))
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("ALTER TABLE keys RENAME TO hidden")
        assert status_of(lambda: store.add(stored(2, "second"))) == Status.KEYISO_E_STORE
        assert status_of(lambda: store.read.find(SOFTWARE, 1000, b"x\0")) == Status.KEYISO_E_STORE
        other.execute("ALTER TABLE hidden RENAME TO keys")
    store.add(stored(3, "third"))

    assert len(store.read.page(SOFTWARE, 1000, b"", 9)) == 2


def test_closing_finishes_what_was_submitted(path: Path) -> None:
    store = Store(path)
    results = [store.start(insert(stored(number, f"{number}"))) for number in range(200)]
    store.close()
    for result in results:
        result()

    with closing(open_database(path)) as connection:
        assert len(KeyReader(connection, path).page(SOFTWARE, 1000, b"", 999)) == 200


def test_a_closed_store_is_one_file_again(path: Path) -> None:
    """It can be copied for a backup."""
    with closing(Store(path)) as store:
        store.add(stored(1))
    copy = path.with_name("copy.sqlite3")
    shutil.copy(path, copy)

    assert [one.name for one in path.parent.iterdir() if one != copy] == [path.name]
    with closing(open_database(copy)) as connection:
        assert KeyReader(connection, copy).find(SOFTWARE, 1000, stored(1).name) == stored(1)


def test_a_deleted_key_is_overwritten(path: Path) -> None:
    key = StoredKey(b"k" * 16, SOFTWARE, 1000, b"a\0", b"a sealed key that is to go " * 30, 1, 0.0)
    with closing(Store(path)) as store:
        store.add(key)
        store.change(lambda change: change.delete(key.key_id))

    assert b"a sealed key that is to go" not in path.read_bytes()


# --- counts ------------------------------------------------------------------------------------


def test_keys_are_counted_by_user(store: Store) -> None:
    store.add(stored(1, "a"), stored(2, "b"), stored(3, partition=1001))
    store.add(stored(4, partition=MACHINE), stored(5, "a", provider=PLATFORM))
    store.change(lambda change: change.delete(stored(1).key_id))
    store.change(lambda change: change.delete(stored(1).key_id))

    assert [store.read.key_count(one) for one in (1000, 1001, MACHINE, 0)] == [2, 1, 1, 0]


def test_a_key_that_was_not_stored_is_not_counted(store: Store) -> None:
    store.add(stored(1))
    assert status_of(lambda: store.add(stored(2, "b"), stored(3, "b"))) == Status.KEYISO_E_STORE

    assert store.read.key_count(1000) == 1


def test_operation_ids_are_counted_by_user(store: Store) -> None:
    for number in range(3):
        store.change(remember(bytes([number]) * 16))
    store.change(remember(b"x" * 16, uid=1001))

    def counts(change: KeyTransaction) -> list[int]:
        return [change.operation_count(uid) for uid in (1000, 1001, 0)]

    assert store.change(counts) == [3, 1, 0]
    store.clock.advance(limits.OPERATION_MEMORY_SECONDS + 1)
    store.change(remember(b"y" * 16))
    assert store.change(counts) == [1, 0, 0]
    with closing(Store(store.path)) as another:
        assert another.change(counts) == [1, 0, 0]


def test_an_operation_id_that_was_not_noted_is_not_counted(store: Store) -> None:
    """Its change was undone, alone or with its whole commit."""

    def fails(change: KeyTransaction) -> None:
        remember(b"a" * 16)(change)
        assert change.operation_count(1000) == 1
        raise ncrypt_error(Status.NTE_EXISTS, "on second thoughts")

    assert status_of(lambda: store.change(fails)) == Status.NTE_EXISTS
    store.writer._connection.execute("PRAGMA query_only = ON")
    assert status_of(lambda: store.change(remember(b"b" * 16))) == Status.KEYISO_E_STORE
    store.writer._connection.execute("PRAGMA query_only = OFF")

    assert store.change(lambda change: change.operation_count(1000)) == 0


def test_many_operation_ids_are_forgotten_little_by_little(store: Store) -> None:
    """No commit waits for all of them; and more go than come."""
    count = 1000

    def many(change: KeyTransaction) -> None:
        for number in range(count):
            remember(number.to_bytes(16, "big"))(change)

    store.change(many)
    store.clock.advance(limits.OPERATION_MEMORY_SECONDS + 1)
    left = [count]
    while left[-1]:
        left.append(store.change(lambda change: change.operation_count(1000)))
        assert 64 < left[-2] - left[-1] < 200 or not left[-1]
        assert len(left) < 20


# --- operation ids and revocations -------------------------------------------------------------


def remember(operation_id: bytes, uid: int = 1000, result: bytes = b"result") -> Change:
    return lambda change: change.remember(uid, operation_id, b"hash", result)


def test_an_operation_is_remembered_for_its_user(store: Store) -> None:
    store.change(remember(b"o" * 16))
    store.change(remember(b"o" * 16, uid=1001, result=b"another"))

    assert store.read.remembered(1000, b"o" * 16) == Remembered(b"hash", b"result")
    assert store.read.remembered(1001, b"o" * 16) == Remembered(b"hash", b"another")
    assert store.read.remembered(0, b"o" * 16) is None
    assert store.read.remembered(1000, b"o" * 15) is None


def test_an_operation_id_is_used_once(store: Store) -> None:
    store.change(remember(b"o" * 16))

    assert status_of(lambda: store.change(remember(b"o" * 16))) == Status.KEYISO_E_STORE


def test_operations_are_forgotten_when_nobody_asks_any_more(store: Store) -> None:
    store.change(remember(b"first".ljust(16)))
    store.clock.advance(limits.OPERATION_MEMORY_SECONDS)
    store.change(remember(b"second".ljust(16)))
    assert store.read.remembered(1000, b"first".ljust(16)) is not None

    store.clock.advance(0.5)
    store.change(remember(b"third".ljust(16)))

    assert store.read.remembered(1000, b"first".ljust(16)) is None
    assert store.read.remembered(1000, b"second".ljust(16)) is not None
    assert store.read.remembered(1000, b"third".ljust(16)) is not None


def test_an_operation_is_remembered_longer_than_anybody_waits() -> None:
    assert limits.OPERATION_MEMORY_SECONDS >= 2 * limits.LONGEST_DEADLINE_SECONDS


def test_revocations_last_for_their_boot(store: Store) -> None:
    store.change(lambda change: change.revoke(b"old" * 5, OTHER_BOOT))
    store.change(lambda change: change.revoke(b"new" * 5, BOOT))
    assert sorted(store.read.revoked()) == [b"new" * 5, b"old" * 5]
    store.change(lambda change: change.forget_other_boots(BOOT))

    assert store.read.revoked() == (b"new" * 5,)
    assert store.read.is_revoked(b"new" * 5)
    assert not store.read.is_revoked(b"old" * 5)


def test_a_key_may_be_revoked_again(store: Store) -> None:
    """Also in the next boot, whose revocation then counts."""
    store.change(lambda change: change.revoke(b"k" * 16, OTHER_BOOT))
    store.change(lambda change: change.revoke(b"k" * 16, BOOT))
    store.change(lambda change: change.forget_other_boots(BOOT))

    assert store.read.revoked() == (b"k" * 16,)


def test_a_revocation_is_forgotten_with_the_next_change(store: Store) -> None:
    """That it was told everywhere is not worth a commit of its own."""
    store.change(lambda change: change.revoke(b"k" * 16, BOOT))
    store.change(lambda change: change.revoke(b"l" * 16, BOOT))
    store.writer.submit_with_next(lambda change: change.forget_revoked((b"k" * 16, b"x" * 16)))
    assert len(store.read.revoked()) == 2

    store.add(stored(1))
    assert store.read.revoked() == (b"l" * 16,)


def test_what_goes_with_the_next_change_does_not_suffer_from_it(store: Store) -> None:
    store.add(stored(1))
    store.change(lambda change: change.revoke(b"k" * 16, BOOT))
    store.writer.submit_with_next(lambda change: change.forget_revoked((b"k" * 16,)))

    assert status_of(lambda: store.add(stored(2))) == Status.KEYISO_E_STORE
    assert store.read.revoked() == ()


def test_deleting_what_is_not_there_is_no_error(store: Store) -> None:
    store.change(lambda change: change.delete(b"k" * 16))


# --- one moment --------------------------------------------------------------------------------


def test_a_snapshot_sees_a_key_and_its_properties_together(store: Store) -> None:
    """Both are replaced in one change, which another thread may commit between two reads."""
    before = stored(1)
    after = replace(before, blob=b"anew", generation=2)
    first, second = (StoredProperty(before.key_id, b"p\0", 1000, value) for value in (b"1", b"2"))
    store.add(before)
    store.change(lambda change: change.set_property(first))

    def seal_anew(change: KeyTransaction) -> None:
        change.update(after)
        change.set_property(second)

    with store.read.snapshot():
        assert store.read.find(SOFTWARE, 1000, before.name) == before
        store.change(seal_anew)
        assert store.read.property_of(before.key_id, b"p\0") == b"1"
        assert store.read.properties(before.key_id) == {b"p\0": b"1"}
    assert store.read.find(SOFTWARE, 1000, before.name) == after
    assert store.read.properties(before.key_id) == {b"p\0": b"2"}


def test_a_snapshot_ends_with_what_goes_wrong_in_it(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.read.snapshot():
        store.read.find(SOFTWARE, 1000, b"n\0")
        raise ZeroDivisionError
    store.add(stored(1))
    with store.read.snapshot():
        assert store.read.key_count(1000) == 1


def test_all_keys_come_by_their_ids(store: Store) -> None:
    keys = [stored(number, f"{9 - number}", partition=number % 2) for number in range(1, 8)]
    store.add(*keys)
    assert store.read.page_by_id(b"", 3) == tuple(keys[:3])
    assert store.read.page_by_id(keys[2].key_id, 10) == tuple(keys[3:])
    assert store.read.page_by_id(keys[-1].key_id, 10) == ()
