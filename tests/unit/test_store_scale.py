"""What the store does for one key does not grow with the others: counted in SQLite's own steps.

A step is an instruction of SQLite's virtual machine; a scan takes some for every row.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keyiso.store.keys import KeyReader, StoredKey
from keyiso.store.schema import MACHINE, open_database
from keyiso.store.writer import _FORGET_SOME, KeyTransaction

FEW, MANY = 1_000, 20_000
PROVIDER = "p"
UID = 1000


def name(number: int) -> bytes:
    return f"key {number:06}".encode("utf-16-le")


def stored(number: int) -> StoredKey:
    return StoredKey(number.to_bytes(16, "big"), PROVIDER, UID, name(number), bytes(433), 1, 0.0)


class Counted:
    """A store, and how many steps a query takes."""

    def __init__(self, path: Path, count: int) -> None:
        self.count = count
        self.connection = open_database(path)
        self.read = KeyReader(self.connection, path)
        self.change = KeyTransaction(self.connection, path, time.time(), {})
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute("BEGIN")
        for number in range(count):
            self.change.insert(stored(number))
            self.change.remember(UID, number.to_bytes(16, "big"), bytes(32), bytes(300))
        self.connection.execute("COMMIT")

    def steps(self, action: Callable[["Counted"], Any]) -> int:
        taken = 0

        def step() -> int:
            nonlocal taken
            taken += 1
            return 0

        self.connection.set_progress_handler(step, 1)
        try:
            action(self)
        finally:
            self.connection.set_progress_handler(None, 1)
        return taken


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counted, Counted]]:
    directory = tmp_path_factory.mktemp("stores")
    made = [Counted(directory / f"{count}.sqlite3", count) for count in (FEW, MANY)]
    with closing(made[0].connection), closing(made[1].connection):
        yield made[0], made[1]


NEW = StoredKey(b"new" * 5 + b"!", PROVIDER, UID, b"new!", bytes(433), 1, 0.0)
ACTIONS: dict[str, Callable[[Counted], Any]] = {
    "find": lambda store: store.read.find(PROVIDER, UID, name(store.count // 2)),
    "find nothing": lambda store: store.read.find(PROVIDER, UID, name(store.count)),
    "first page": lambda store: store.read.page(PROVIDER, UID, b"", 256),
    "page in the middle": lambda store: store.read.page(PROVIDER, UID, name(store.count // 2), 256),
    "page of another user": lambda store: store.read.page(PROVIDER, MACHINE, b"", 256),
    "count keys": lambda store: store.read.key_count(UID),
    "forget operations": lambda store: store.connection.execute(_FORGET_SOME, (0.0, 128)),
    "remembered": lambda store: store.read.remembered(UID, bytes(16)),
    "insert": lambda store: store.change.insert(NEW),
    "delete": lambda store: store.change.delete(NEW.key_id),
    "remember": lambda store: store.change.remember(UID, b"o" * 16, bytes(32), bytes(300)),
    "revocations": lambda store: store.read.revoked(),
    "forget other boots": lambda store: store.change.forget_other_boots(b"b" * 16),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_done_for_one_key_takes_the_same_steps(
    stores: tuple[Counted, Counted], action: str
) -> None:
    few, many = (store.steps(ACTIONS[action]) for store in stores)

    assert 0 < few < 10_000
    assert many <= 1.1 * few + 10


def test_a_scan_would_be_noticed(stores: tuple[Counted, Counted]) -> None:
    few, many = (
        store.steps(lambda store: store.connection.execute("SELECT max(modified) FROM keys"))
        for store in stores
    )

    assert many > 10 * few
