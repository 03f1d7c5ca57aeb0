"""A restore is killed at every system call that changes files: the old store or the new one.

strace makes the N-th call of a kind kill the restore, for N = 1, 2, 3 and so on until it completes
unharmed. After each kill the store is whole and is one of the two, and so is the root; and doing
it again completes it.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from keyiso import Key
from keyiso.paths import Instance
from tests.cli.command import DEADLINE_SECONDS, KEYISO, keyiso
from tests.instance import RunningInstance

CALLS = {
    "same root": (
        "openat",
        "write",
        "fsync",
        "fdatasync",
        "linkat",
        "rename",
        "unlink",
        "pwrite64",
    ),
    "other root": ("fsync", "linkat", "rename", "unlink"),
}
"""What changes the files of a restore, and of a root that is restored with the store. strace
counts each kind for itself, in the instance's own directories."""

KILLED = (-9, 128 + 9)
LONGEST_RUN = 200

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def key_ids(store: Path) -> set[bytes]:
    """The keys of a whole store, its log included, read from a copy so that it stays as it is."""
    copy = store.parent.parent.parent / "looked-at"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(store.parent, copy)
    with contextlib.closing(sqlite3.connect(copy / store.name)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {key_id for (key_id,) in connection.execute("SELECT key_id FROM keys")}


def killed_at(call: str, when: int, command: list[str | Path], instance: Instance) -> bool:
    """Run a command and kill it at its N-th call in the instance's directories. True if it was."""
    directories = [instance.store.parent, instance.software_machine_root.parent]
    names = [
        f"{path}{suffix}"
        for path in (instance.store, instance.software_machine_root)
        for suffix in ("", "-wal", "-shm", ".restoring", ".before-restore-1")
    ]
    paths = [option for path in (*directories, *names) for option in ("-P", str(path))]
    ended = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", os.devnull, *paths),
            *("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={when}"),
            *command,
        ],
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ended.returncode in (0, *KILLED), ended.stderr
    return ended.returncode != 0


@pytest.mark.parametrize("root", CALLS)
def test_a_kill_at_any_write_leaves_the_old_store_or_the_new_one(
    root: str, instance: RunningInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old one was itself killed: its log has what was committed."""
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    file = tmp_path / "backup"
    with Key.create("web", "ECDSA_P256") as key:
        signature = key.sign(b"data")
    made = keyiso("backup", file, "--with-root", "--password-file", password)
    assert made.code == 0
    restored_root = instance.instance.software_machine_root.read_bytes()
    new = key_ids(instance.instance.store)
    if root == "other root":
        instance.end()
        shutil.rmtree(instance.instance.state)
        instance.start()
    Key.create("since", "ECDSA_P256").close()
    old_root = instance.instance.software_machine_root.read_bytes()
    instance.kill_everything()
    old = key_ids(instance.instance.store)
    assert old != new

    before, state = tmp_path / "before", instance.instance.state
    shutil.copytree(state, before)
    restore = ("restore", file, "--yes", "--replace-root", "--password-file", password)
    found: Counter[str] = Counter()
    for call in CALLS[root]:
        for when in range(1, LONGEST_RUN):
            shutil.rmtree(state)
            shutil.copytree(before, state)
            killed = killed_at(call, when, [*KEYISO, *restore], instance.instance)
            left = key_ids(instance.instance.store)
            assert left in (old, new), (call, when)
            assert instance.instance.software_machine_root.read_bytes() in (old_root, restored_root)
            if not killed:
                break
            found.update((call, "old" if left == old else "new"))
            again = keyiso(*restore)
            assert again.code == 0, again.errors
            assert key_ids(instance.instance.store) == new
            assert instance.instance.software_machine_root.read_bytes() == restored_root
            assert not list(state.rglob("*.restoring"))
        else:
            pytest.fail(f"{LONGEST_RUN} times {call} and no end")
    with capsys.disabled():
        print(f"\n  {root}: {dict(found)}")
    assert found["old"] and found["new"]
    assert found["linkat"] and found["rename"] and found["fsync"]
    instance.start()
    with Key.open("web") as key:
        key.verify(signature, b"data")
        key.verify(key.sign(b"data"), b"data")
