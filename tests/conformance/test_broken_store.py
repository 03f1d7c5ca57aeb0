"""A store that cannot be used: said with its cause, for who needs it; everybody else is served.

And when the cause has gone, the very next request finds the store as it was. Nothing is
restarted for that, but where a test says so.
"""

import contextlib
import os
import pwd
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from keyiso import Key, NCryptError, Provider
from keyiso.status import Status, status_name
from tests.conformance.ready import wait_for_workers
from tests.conformance.statuses import fails
from tests.conformance.world import ALICE, KEYISO, SystemInstance, World
from tests.instance import RunningInstance, in_use
from tests.waiting import wait_until

DATA = b"data"
NAMES = ("kept", "kept too", "of RSA")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting, and other users, need root")


def works(key: Key) -> bool:
    key.verify(key.sign(DATA), DATA)
    return True


def names() -> list[str]:
    with Provider() as provider:
        return [key.pszName for key in provider.keys()]


def outcome(action: Callable[[], object]) -> str:
    """OK, or the name of the status."""
    try:
        action()
    except NCryptError as error:
        return status_name(error.status)
    return "OK"


def opening(name: str) -> str:
    return outcome(lambda: Key.open(name).close())


@dataclass
class Stage:
    """An instance with keys in its store, and handles to them that are loaded."""

    instance: RunningInstance
    keys: dict[str, Key] = field(default_factory=dict)
    loaded: bool = True
    """The keys are loaded in a worker, and need no store."""

    def __post_init__(self) -> None:
        for name in NAMES:
            self.keys[name] = Key.create(name, "RSA" if "RSA" in name else "ECDSA_P256")
            works(self.keys[name])

    @property
    def store(self) -> Path:
        return self.instance.instance.store

    def stop(self) -> None:
        self.instance.end()
        self.loaded = False

    def restart_keyiso(self) -> None:
        """Have the service open its store anew, as after a crash."""
        before = self.instance.pid_of("keyiso")
        self.instance.kill("keyiso")
        wait_until(lambda: self.instance.pid_of("keyiso") not in (0, before), "another keyiso")

    def check_it_says_so(self, *expected: str) -> None:
        """Requests that need the store fail with its path and what to do; nobody else notices."""
        for action in (
            lambda: Key.open("kept"),
            names,
            lambda: Key.create("new", "ECDSA_P256"),
            lambda: Key.create("new", "RSA"),
        ):
            with fails(Status.KEYISO_E_STORE) as caught:
                action()
            assert str(self.store) in caught.value.cause
            assert all(word in str(caught.value) for word in expected), caught.value
            assert caught.value.chain, "nobody knows which process it was"
        self.check_what_needs_no_store()

    def check_what_needs_no_store(self) -> None:
        for key in self.keys.values() if self.loaded else ():
            works(key)
        with Key.create(None, "ECDSA_P256") as ephemeral:
            works(ephemeral)

    def check_it_is_only_read(self) -> None:
        """What is stored can be used; what would change it cannot."""
        for name in NAMES:
            with Key.open(name) as key:
                assert works(key)
                assert key.unique_name == self.keys[name].unique_name
        assert set(names()) == set(NAMES)
        assert outcome(lambda: Key.create("new", "ECDSA_P256")) == "KEYISO_E_STORE"
        assert outcome(lambda: Key.open("kept").delete()) == "KEYISO_E_STORE"
        assert outcome(lambda: Key.create("kept", "RSA", overwrite=True)) == "KEYISO_E_STORE"
        self.check_what_needs_no_store()

    def check_it_is_whole(self) -> None:
        """As if nothing had been."""
        assert set(names()) == set(NAMES)
        for name, key in self.keys.items():
            assert works(key)
            with Key.open(name) as opened:
                assert opened.unique_name == key.unique_name
        with Key.create("made afterwards", "ECDSA_P256") as key:
            assert works(key)
            key.delete()


@pytest.fixture
def stage(instance: RunningInstance) -> Stage:
    return Stage(instance)


# --- something else in its place ---------------------------------------------------------------


def whole_copy(stage: Stage) -> bytes:
    """The store in one file, as a backup has it."""
    copy = stage.store.with_name("copy")
    with (
        contextlib.closing(sqlite3.connect(stage.store)) as store,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        store.backup(target)
    data = copy.read_bytes()
    copy.unlink()
    return data


def newer(data: bytes) -> bytes:
    """The same store, as a later version of keyiso would leave it (the file format, 1.3)."""
    return data[:60] + (99).to_bytes(4, "big") + data[64:]


def of_another_application(data: bytes) -> bytes:
    return data[:68] + (4711).to_bytes(4, "big") + data[72:]


CONTENTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "text": (lambda data: b"no database\n" * 100, "not a database"),
    "zeros": (lambda data: bytes(len(data)), "not a database"),
    "a newer schema": (newer, "schema version 99"),
    "another application's": (of_another_application, "something else"),
    "half of it": (lambda data: data[: len(data) // 2], "malformed"),
    "a header alone": (lambda data: data[:100], ""),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("how", ["while it runs", "after a restart"])
def test_another_file(stage: Stage, content: str, how: str) -> None:
    data = whole_copy(stage)
    make, said = CONTENTS[content]
    other = stage.store.with_name("other")
    if how == "after a restart":
        stage.stop()
    other.write_bytes(make(data))
    other.replace(stage.store)
    if how == "after a restart":
        stage.instance.start()

    stage.check_it_says_so(said)
    assert stage.store.read_bytes() == make(data), "what is not ours was changed"

    other.write_bytes(data)
    other.replace(stage.store)
    stage.check_it_is_whole()


@pytest.mark.parametrize("what", ["directory", "fifo", "nothing"])
def test_no_file(stage: Stage, what: str) -> None:
    elsewhere = stage.store.with_name("elsewhere")
    stage.store.rename(elsewhere)
    if what == "directory":
        stage.store.mkdir()
    elif what == "fifo":
        os.mkfifo(stage.store)

    stage.check_it_says_so("gone" if what == "nothing" else "")

    if what == "directory":
        stage.store.rmdir()
    elif what == "fifo":
        stage.store.unlink()
    elsewhere.rename(stage.store)
    stage.check_it_is_whole()


def test_an_older_copy_is_what_counts_from_now_on(stage: Stage) -> None:
    """A backup that was put back while the service runs: no change goes to the file that is not
    there any more."""
    data = whole_copy(stage)
    Key.create("after the backup", "ECDSA_P256")
    other = stage.store.with_name("other")
    other.write_bytes(data)
    other.replace(stage.store)

    assert opening("after the backup") == "NTE_BAD_KEYSET"
    Key.create("after the restore", "ECDSA_P256")
    stage.restart_keyiso()

    assert set(names()) == {*NAMES, "after the restore"}


def test_cut_short_at_many_places(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """No cut gives a wrong answer, ends the service or harms what needs no store.

    But for a file of no byte or one, which SQLite takes for a new database.
    """
    data = whole_copy(stage)
    pid = stage.instance.pid_of("keyiso")
    page = int.from_bytes(data[16:18], "big")
    sizes = {2, 15, 16, 60, 99, 100, 101, len(data) - 1}
    sizes |= {page * n + d for n in range(1, len(data) // page) for d in (-1, 0, 1)}
    said: dict[str, int] = {}
    other = stage.store.with_name("other")
    for number, size in enumerate(sorted(size for size in sizes if 0 < size < len(data))):
        other.write_bytes(data[:size])
        other.replace(stage.store)
        for name in NAMES:
            answer = opening(name)
            said[answer] = said.get(answer, 0) + 1
        assert outcome(lambda: Key.create("new", "ECDSA_P256")) == "KEYISO_E_STORE", size
        if number % 8 == 0:
            stage.check_what_needs_no_store()
    with capsys.disabled():
        print(f"\n  a store of {len(data)} bytes, cut at {len(sizes)} places: {said}")

    assert set(said) == {"KEYISO_E_STORE"}
    other.write_bytes(data)
    other.replace(stage.store)
    stage.check_it_is_whole()
    assert stage.instance.pid_of("keyiso") == pid


def test_damaged_in_place(stage: Stage) -> None:
    """By a disk, say: the open file itself loses its contents, and gets them back."""
    data = whole_copy(stage)
    stage.stop()
    stage.store.write_bytes(data[:100] + os.urandom(len(data) - 100))
    stage.instance.start()

    stage.check_it_says_so("malformed")

    stage.store.write_bytes(data)
    stage.check_it_is_whole()


def test_a_damaged_page(stage: Stage) -> None:
    """The store opens, and what is found in it does not make sense."""
    data = whole_copy(stage)
    stage.stop()
    stage.store.write_bytes(data)
    with contextlib.closing(sqlite3.connect(stage.store)) as store:
        pages = store.execute("SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'keys'")
        numbers = [number for (number,) in pages if number]
    page = int.from_bytes(data[16:18], "big")
    damaged = bytearray(data)
    for number in numbers:
        damaged[(number - 1) * page : number * page] = os.urandom(page)
    stage.store.write_bytes(damaged)
    stage.instance.start()

    stage.check_it_says_so("malformed")

    stage.store.write_bytes(data)
    stage.check_it_is_whole()


def test_the_whole_store_of_another_instance(stage: Stage, tmp_path: Path) -> None:
    """Copied to a machine with another root: its keys are listed, and do not open; new ones work.

    With its root, it is a move, and everything works."""
    data = whole_copy(stage)
    root = stage.instance.instance.software_machine_root.read_bytes()
    other = RunningInstance(tmp_path / "other")
    other.start()
    wait_for_workers(other)  # which have made a root of their own
    other.end()
    there = other.instance
    there.store.write_bytes(data)
    with in_use(other):
        assert set(names()) == set(NAMES)
        assert [opening(name) for name in NAMES] == ["NTE_BAD_DATA"] * 3
        assert works(Key.create("new", "ECDSA_P256"))
        other.end()
        there.software_machine_root.write_bytes(root)
        there.store.write_bytes(data)
        for file_name in ("-wal", "-shm"):
            there.store.with_name(there.store.name + file_name).unlink(missing_ok=True)
        other.start()

        assert [opening(name) for name in NAMES] == ["OK"] * 3


# --- disks -------------------------------------------------------------------------------------


class Disk:
    """A small file system in memory."""

    def __init__(self, path: Path, kilobytes: int) -> None:
        self.path = path
        self._fill = path / "fill"
        path.mkdir(parents=True, exist_ok=True)
        options = f"size={kilobytes}k,mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        done = subprocess.run(mount, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    def fill(self) -> None:
        with open(self._fill, "ab", buffering=0) as file:
            for size in (4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))

    def empty(self) -> None:
        self._fill.unlink()

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.path], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """What will be the store's directory."""
    made = Disk(tmp_path / "home" / "state" / "store", 600)
    yield made
    made.unmount()


@pytest.fixture
def on_disk(disk: Disk, instance: RunningInstance) -> Stage:
    return Stage(instance)


@needs_root
def test_a_disk_that_is_full(disk: Disk, on_disk: Stage) -> None:
    """What is stored goes on being found, also by a service that starts then."""
    stage = on_disk
    disk.fill()
    with fails(Status.KEYISO_E_STORE) as caught:
        for number in range(100):
            Key.create(f"filling {number}", "RSA")
    assert "full" in caught.value.cause
    assert "disk" in caught.value.action
    made = {name for name in names() if name.startswith("filling")}
    for name in made:
        assert opening(name) == "OK"
    stage.check_what_needs_no_store()

    stage.restart_keyiso()
    disk.fill()  # what the last service let go of
    for name in (*NAMES, *made):
        assert opening(name) == "OK"
    assert set(names()) == {*NAMES, *made}
    assert outcome(lambda: Key.create("large", "RSA")) == "KEYISO_E_STORE"
    stage.check_what_needs_no_store()

    disk.empty()
    for name in made:
        Key.open(name).delete()
    stage.check_it_is_whole()


@needs_root
def test_a_full_disk_at_the_start(disk: Disk, on_disk: Stage) -> None:
    """Then there is no room for the log of a database that was closed well."""
    stage = on_disk
    stage.stop()
    disk.fill()
    stage.instance.start()

    stage.check_it_is_only_read()

    disk.empty()
    stage.check_it_is_whole()


@needs_root
def test_a_disk_that_is_read_only(disk: Disk, on_disk: Stage) -> None:
    stage = on_disk
    stage.stop()
    disk.remount("ro")
    stage.instance.start()

    stage.check_it_is_only_read()

    disk.remount("rw")
    stage.check_it_is_whole()


@needs_root
def test_a_disk_that_is_read_only_after_a_crash(disk: Disk, on_disk: Stage) -> None:
    """Changes wait in the database's log, which cannot be tidied up: they count all the same."""
    stage = on_disk
    stage.instance.kill("supervisor")  # and everything with it
    stage.loaded = False
    wait_until(lambda: is_ended(stage.instance), "the end of all services")
    disk.remount("ro")
    stage.instance.start()

    stage.check_it_is_only_read()

    disk.remount("rw")
    stage.check_it_is_whole()


def is_ended(instance: RunningInstance) -> bool:
    """No process of it has a file open any more."""
    home = str(instance.instance.state)
    for process in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(os.readlink(link).startswith(home) for link in process.iterdir()):
                return False
    return True


# --- rights ------------------------------------------------------------------------------------


@pytest.fixture
def system(python: Path, homes: Path, tmp_path: Path) -> Iterator[SystemInstance]:
    with in_use(SystemInstance(homes / tmp_path.name, python)) as running:
        yield running


def nobody_may(path: Path) -> Callable[[], None]:
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0)
    return lambda: path.chmod(mode)


def belongs_to_another(path: Path) -> Callable[[], None]:
    path.chmod(stat.S_IMODE(path.stat().st_mode) & 0o700)
    os.chown(path, 0, 0)
    return lambda: os.chown(path, pwd.getpwnam(KEYISO).pw_uid, -1)


@needs_root
@pytest.mark.parametrize("take_away", [nobody_may, belongs_to_another])
@pytest.mark.parametrize("what", ["directory", "file"])
def test_a_store_that_keyiso_may_not_read(
    system: SystemInstance, what: str, take_away: Callable[[Path], Callable[[], None]]
) -> None:
    stage = Stage(system)
    give_back = take_away(stage.store.parent if what == "directory" else stage.store)
    stage.restart_keyiso()

    stage.check_it_says_so()

    give_back()
    stage.check_it_is_whole()


@needs_root
def test_a_store_that_keyiso_may_only_read(system: SystemInstance) -> None:
    stage = Stage(system)
    stage.stop()
    keyiso = pwd.getpwnam(KEYISO)
    stage.store.chmod(0o400)
    system.start()

    stage.check_it_is_only_read()

    stage.store.chmod(0o600)
    assert stage.store.stat().st_uid == keyiso.pw_uid
    stage.check_it_is_whole()


@needs_root
def test_one_users_damaged_key_is_nobody_elses(system: SystemInstance, python: Path) -> None:
    """Two partitions of one store."""
    stage, world = Stage(system), World(python, system.home)
    made = "key = Key.create('kept', 'ECDSA_P256'); tell(key.unique_name)"
    unique_name = world.run(ALICE, made)
    with contextlib.closing(sqlite3.connect(stage.store)) as store, store:
        store.execute("UPDATE keys SET blob = x'00' WHERE partition = 0")

    assert opening("kept") == "NTE_BAD_DATA"
    again = "key = Key.open('kept'); key.sign(b''); tell(key.unique_name)"
    assert world.run(ALICE, again) == unique_name


# --- what is not the store ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["file", "read-only", "full"])
def test_a_log_of_events_that_cannot_be_written(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are lost, and nothing else."""
    events = tmp_path / "home" / "state" / "events"
    with contextlib.ExitStack() as stack:
        if what != "file":
            if os.geteuid() != 0:
                pytest.skip("mounting needs root")
            disk = Disk(events, 40)
            stack.callback(disk.unmount)
            disk.fill() if what == "full" else disk.remount("ro")
        instance = stack.enter_context(in_use(RunningInstance(tmp_path / "home")))
        if what == "file":
            shutil.rmtree(events)
            events.touch()
        stage = Stage(instance)
        assert opening("no such key") == "NTE_BAD_KEYSET"
        stage.restart_keyiso()
        assert opening("no such key") == "NTE_BAD_KEYSET"
        stage.check_it_is_whole()


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x01garbage", b"garbage"])
def test_a_damaged_boot_root(stage: Stage, content: bytes) -> None:
    """Stored keys do not need it; ephemeral ones say what is missing."""
    ephemeral = Key.create(None, "ECDSA_P256")
    (root,) = stage.instance.instance.software_boot_roots.glob("boot-root-*")
    stage.stop()
    root.write_bytes(content)
    stage.instance.start()

    for key in stage.keys.values():
        works(key)
    assert opening("kept") == "OK"
    for action in (lambda: Key.create(None, "RSA"), lambda: ephemeral.sign(DATA)):
        with fails(Status.KEYISO_E_ROOT_MISSING) as caught:
            action()
        assert "boot root" in caught.value.cause
        assert "Remove it" in caught.value.action

    stage.stop()
    root.unlink()
    stage.instance.start()
    assert outcome(lambda: ephemeral.sign(DATA)) == "KEYISO_E_EPHEMERAL_GONE"
    stage.check_it_is_whole()


def test_a_root_that_is_damaged_while_it_is_in_use(stage: Stage) -> None:
    """The workers have read it; the next ones cannot, and say so until it is back."""
    root = stage.instance.instance.software_machine_root
    right = root.read_bytes()
    root.write_bytes(right[: len(right) // 2])
    stage.check_it_is_whole()

    stage.instance.kill("software-0", "software-1", "software-generator")
    with fails(Status.KEYISO_E_ROOT_MISSING) as caught:
        stage.keys["kept"].sign(DATA)
    assert "backup" in caught.value.action
    assert outcome(lambda: Key.create("new", "RSA")) == "KEYISO_E_ROOT_MISSING"
    assert works(Key.create(None, "ECDSA_P256"))

    root.write_bytes(right)
    stage.instance.kill("software-0", "software-1", "software-generator")
    stage.check_it_is_whole()
