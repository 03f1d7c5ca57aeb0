"""The KeyIso service is killed at every write of a key that is sealed anew.

The key and its properties are then all sealed by the old root, or all by the new one.
"""

import select
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyiso import Key, NCryptError, Protection, ncrypt
from keyiso.client.binding import bind_process
from keyiso.client.resealing import reseal_keys
from keyiso.client.retry import RetryPolicy
from keyiso.crypto.key_blob import read_header
from keyiso.flags import NCRYPT_PERSIST_FLAG
from tests.crash.strace import killing, needs_strace, wait_for_end
from tests.instance import RunningInstance
from tests.restart.victims import Victims
from tests.roots.machine import EnrolledMachine
from tests.vbs.serving import instance_on

pytestmark = needs_strace

WRITES = ("pwrite64", "fdatasync")
"""What SQLite changes files with in WAL mode."""

LONGEST_RUN = 200
NAME = "key"
PROPERTIES = {"First": b"first", "Second": b"second" * 20}

Rows = tuple[list[tuple[object, ...]], list[tuple[object, ...]]]


@pytest.fixture
def running(machine: EnrolledMachine) -> Iterator[RunningInstance]:
    """With a key that the newest root does not seal."""
    machine.enrol()
    with instance_on(machine, "--workers=1") as running:
        running.start()
        with Key.create(NAME, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as key:
            for name, value in PROPERTIES.items():
                ncrypt.NCryptSetProperty(key.handle, name, value, NCRYPT_PERSIST_FLAG)
        machine.run("tpm", "rotate")
        yield running


def test_a_kill_at_any_write_leaves_what_was_or_what_is_to_be(
    machine: EnrolledMachine,
    running: RunningInstance,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = rows(running)
    assert machine.run("tpm", "reseal", "--json").json["resealed"] == 1
    newest = machine.enrolment.newest.root_id
    kills: Counter[str] = Counter()
    for call in WRITES:
        for when in range(1, LONGEST_RUN):
            put_back(running, before)
            killed = reseal_with_kill(running, newest, tmp_path, call, when)
            check_key()
            if not killed:
                assert root_of_key(running) == newest
                break
            kills["new" if root_of_key(running) == newest else "old"] += 1
        else:
            pytest.fail(f"{LONGEST_RUN} times {call} and no end")
    with capsys.disabled():
        print(f"\n  reseal: {kills['old']} kills left the old state, {kills['new']} the new")

    assert kills["old"], "no kill came before the commit"
    assert kills["new"], "no kill came between commit and answer"


def reseal_with_kill(
    running: RunningInstance, newest: bytes, path: Path, call: str, when: int
) -> bool:
    """Whether the N-th write killed the service."""
    Victims(running, "vbs").settle()  # what the last kill hit is back
    hasty = bind_process(running.environ, policy=RetryPolicy(deadline=0))
    with killing(running.pid_of("keyiso"), path, call, when) as pidfd:
        try:
            list(reseal_keys(hasty, newest))
        except NCryptError:
            wait_for_end(pidfd)
            return True
        ended, _, _ = select.select([pidfd], [], [], 0)
        return bool(ended)


def check_key() -> None:
    with Key.open(NAME) as key:
        key.verify(key.sign(b"data"), b"data")
        for name, value in PROPERTIES.items():
            assert ncrypt.NCryptGetProperty(key.handle, name) == value


def rows(running: RunningInstance) -> Rows:
    with closing(sqlite3.connect(running.instance.store)) as store:
        keys = store.execute("SELECT blob, generation, key_id FROM keys").fetchall()
        properties = store.execute("SELECT value, key_id, name FROM properties").fetchall()
    return keys, properties


def put_back(running: RunningInstance, before: Rows) -> None:
    """Old rows are keys again: so each kill finds the key as the first one did."""
    keys, properties = before
    path = running.instance.store
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as store:
        store.execute("BEGIN IMMEDIATE")
        store.executemany("UPDATE keys SET blob = ?, generation = ? WHERE key_id = ?", keys)
        store.executemany(
            "UPDATE properties SET value = ? WHERE key_id = ? AND name = ?", properties
        )
        store.execute("COMMIT")


def root_of_key(running: RunningInstance) -> bytes:
    (((blob, *_),), _) = rows(running)
    assert isinstance(blob, bytes)
    return read_header(blob).root_id
