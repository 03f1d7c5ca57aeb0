"""What is kept of ephemeral keys while they are alive."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.store.ephemerals import ClientProcess, EphemeralClient, EphemeralStore

BOOT, OTHER_BOOT = b"b" * 16, b"c" * 16
ALICE, SAME_USER, BOB = (
    EphemeralClient(1000, b"g" * 32),
    EphemeralClient(1000, b"h" * 32),
    EphemeralClient(1001, b"g" * 32),
)


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., EphemeralStore]]:
    stores: list[EphemeralStore] = []

    def make(boot: bytes = BOOT) -> EphemeralStore:
        stores.append(EphemeralStore(tmp_path, boot))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., EphemeralStore]) -> EphemeralStore:
    return open_store()


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(NCryptError) as caught:
        action()
    assert caught.value.status == Status.KEYISO_E_STORE
    return caught.value.cause


def test_a_key_is_alive_until_it_is_removed(store: EphemeralStore) -> None:
    store.add(key(1), ALICE)
    store.add(key(2), ALICE)
    assert [store.is_alive(key(n)) for n in (1, 2, 3)] == [True, True, False]

    store.remove(key(1))
    store.remove(key(1))
    assert [store.is_alive(key(n)) for n in (1, 2, 3)] == [False, True, False]


def test_keys_are_counted_by_user(
    store: EphemeralStore, open_store: Callable[..., EphemeralStore]
) -> None:
    for number, client in enumerate((ALICE, ALICE, SAME_USER, BOB)):
        store.add(key(number), client)
    store.remove(key(0))
    store.remove(key(0))
    assert [store.count(uid) for uid in (1000, 1001, 0)] == [2, 1, 0]

    assert [open_store().count(uid) for uid in (1000, 1001, 0)] == [2, 1, 0]


def test_a_client_ends_with_its_keys_and_processes_and_nobody_elses(store: EphemeralStore) -> None:
    for number, client in enumerate((ALICE, ALICE, SAME_USER, BOB)):
        store.add(key(number), client)
        store.see(client, ClientProcess(7, 70 + number))
    assert set(store.clients()) == {ALICE, SAME_USER, BOB}

    store.remove_client(ALICE)
    store.remove_client(ALICE)

    assert [store.is_alive(key(n)) for n in range(4)] == [False, False, True, True]
    assert [store.has_keys(client) for client in (ALICE, SAME_USER, BOB)] == [False, True, True]
    assert store.processes(ALICE) == ()
    assert store.processes(BOB) == (ClientProcess(7, 73),)
    assert set(store.clients()) == {SAME_USER, BOB}
    assert [store.count(uid) for uid in (1000, 1001)] == [1, 1]


def test_a_client_may_be_several_processes(store: EphemeralStore) -> None:
    for process in (ClientProcess(7, 70), ClientProcess(8, 80), ClientProcess(7, 71)):
        store.see(ALICE, process)

    assert set(store.processes(ALICE)) == {ClientProcess(7, 71), ClientProcess(8, 80)}


def test_another_boot_begins_with_nothing(
    store: EphemeralStore, open_store: Callable[..., EphemeralStore], tmp_path: Path
) -> None:
    """And what the last one left goes."""
    store.add(key(1), ALICE)
    store.close()
    other = open_store(OTHER_BOOT)

    assert not other.is_alive(key(1))
    assert {file.name.split(".")[0] for file in tmp_path.iterdir()} == {
        f"ephemerals-{OTHER_BOOT.hex()}"
    }


def test_what_a_killed_process_wrote_is_there(tmp_path: Path, store: EphemeralStore) -> None:
    """Without a closing and without waiting for any disk: a copy of the files is what it leaves."""
    store.add(key(1), ALICE)
    copies = tmp_path / "copies"
    copies.mkdir()
    for file in [one for one in tmp_path.iterdir() if one.is_file()]:
        if not file.name.endswith("-shm"):
            (copies / file.name).write_bytes(file.read_bytes())

    with closing(EphemeralStore(copies, BOOT)) as again:
        assert again.is_alive(key(1))


@pytest.mark.parametrize(
    "content", [b"no database" * 100, b"SQLite format 3\0" + bytes(4080)], ids=["text", "header"]
)
def test_what_is_no_database_is_refused_until_it_is_gone(
    store: EphemeralStore, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / f"ephemerals-{BOOT.hex()}.sqlite3"
    path.write_bytes(content)

    assert str(path) in refused(lambda: store.count(1000))
    assert str(path) in refused(lambda: store.is_alive(key(1)))
    assert path.read_bytes() == content

    path.unlink()
    store.add(key(1), ALICE)
    assert store.is_alive(key(1))


@pytest.mark.parametrize("pragma", ["user_version = 2", "application_id = 4711"])
def test_another_version_or_application_is_refused(
    open_store: Callable[..., EphemeralStore], tmp_path: Path, pragma: str
) -> None:
    first = open_store()
    first.add(key(1), ALICE)
    first.close()
    with closing(sqlite3.connect(tmp_path / f"ephemerals-{BOOT.hex()}.sqlite3")) as connection:
        connection.execute(f"PRAGMA {pragma}")

    with pytest.raises(NCryptError, match="Remove it"):
        open_store().is_alive(key(1))


def test_a_directory_that_is_not_there_is_asked_for_again(tmp_path: Path) -> None:
    directory = tmp_path / "later"
    with closing(EphemeralStore(directory, BOOT)) as store:
        refused(lambda: store.add(key(1), ALICE))
        directory.mkdir()
        store.add(key(1), ALICE)

        assert store.count(1000) == 1
