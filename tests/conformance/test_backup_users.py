"""Backup and restore of a system instance: by root, as the users that its services run as."""

import os
import pwd
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import Key
from keyiso.router import process_router
from tests.cli.command import Ended, keyiso
from tests.conformance.world import (
    ALICE,
    KEYISO,
    TRUSTLET,
    SystemInstance,
    World,
    uid_of,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")

DATA = b"data"


@pytest.fixture
def system(
    python: Path, homes: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[SystemInstance]:
    """A running system instance, which this process and its children use."""
    with served(homes / request.node.name, python, monkeypatch) as running:
        running.start()
        yield running


class served:
    """A home for a system instance, which ends with the block."""

    def __init__(self, home: Path, python: Path, patch: pytest.MonkeyPatch) -> None:
        self._running = SystemInstance(home, python)
        self._patch = patch

    def __enter__(self) -> SystemInstance:
        self._before = os.environ.get("KEYISO_HOME", "")
        self._patch.setenv("KEYISO_HOME", str(self._running.home))
        process_router.cache_clear()
        return self._running

    def __exit__(self, *exception: object) -> None:
        process_router.cache_clear()
        self._running.end()
        shutil.rmtree(self._running.instance.runtime, ignore_errors=True)
        self._patch.setenv("KEYISO_HOME", self._before)


def backup(file: Path, *options: str | Path) -> Ended:
    return keyiso("backup", file, "--system", *options)


def restore(file: Path, *options: str | Path) -> Ended:
    users = ("--keyiso-user", KEYISO, "--trustlet-user", TRUSTLET)
    return keyiso("restore", file, "--system", "--yes", *users, *options)


def owners(system: SystemInstance) -> dict[str, tuple[str, int]]:
    """Whose the stored files and their directories are, and their modes."""
    instance = system.instance
    found = {}
    for directory in (instance.store.parent, instance.software_machine_root.parent):
        for path in (directory, *directory.iterdir()):
            kept = path.stat()
            found[path.name] = pwd.getpwuid(kept.st_uid).pw_name, stat.S_IMODE(kept.st_mode)
    return found


def test_root_restores_it_as_the_users_of_its_services(
    system: SystemInstance, python: Path, tmp_path: Path
) -> None:
    world = World(python, system.home)
    signature = world.run(ALICE, "tell(Key.create('web', 'ECDSA_P256').sign(b'data').hex())")
    Key.create("of the machine", "ECDSA_P256", machine=True).close()
    file = tmp_path / "backup"
    told = keyiso("backup", file, "--system", "--json")
    assert told.code == 0, told.errors
    assert (told.json["backup"]["system"], told.json["backup"]["user_keys"]) == (True, 1)
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600)
    world.run(ALICE, "Key.open('web').delete(); tell(0)")
    system.end()

    ended = restore(file)

    assert ended.code == 0, ended.errors
    assert "'web' of uid" in ended.text
    found = owners(system)
    assert found["keys.sqlite3"] == (KEYISO, 0o600)
    assert found["keys.sqlite3.before-restore-1"][0] == KEYISO
    assert found["machine-root"] == (TRUSTLET, 0o600)
    system.start()
    code = f"""
key = Key.open('web')
key.verify(bytes.fromhex({signature!r}), b'data')
key.verify(key.sign(b'data'), b'data')
tell('works')
"""
    assert world.run(ALICE, code) == "works"
    with Key.open("of the machine", machine=True) as key:
        key.verify(key.sign(DATA), DATA)


def test_a_lost_machine_is_made_anew(
    system: SystemInstance,
    python: Path,
    homes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing was ever served, the directories get the owners that `serve` gives them."""
    with Key.create("web", "ECDSA_P256", machine=True) as key:
        signature = key.sign(DATA)
    file, password = tmp_path / "backup", tmp_path / "password"
    password.write_text("correct horse\n")
    assert backup(file, "--with-root", "--password-file", password).code == 0
    with served(homes / "anew", python, monkeypatch) as other:
        missing = keyiso(
            *("restore", file, "--system", "--yes", "--keyiso-user", "nobody-of-that-name"),
            *("--password-file", password),
        )
        assert (missing.code, "there is no user" in missing.errors) == (3, True)
        ended = restore(file, "--password-file", password)

        assert ended.code == 0, ended.errors
        assert owners(other) == {
            "store": (KEYISO, 0o700),
            "keys.sqlite3": (KEYISO, 0o600),
            "software-trustlet": (TRUSTLET, 0o700),
            "machine-root": (TRUSTLET, 0o600),
        }
        other.start()
        with Key.open("web", machine=True) as key:
            key.verify(signature, DATA)
            key.verify(key.sign(DATA), DATA)


def test_the_two_kinds_of_instances_are_not_confused(
    system: SystemInstance, tmp_path: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    file = tmp_path / "backup"
    assert backup(file).code == 0
    system.end()

    ended = keyiso("restore", file, "--yes")

    assert ended.code == 1
    assert "Restore it as root with --system" in ended.errors


def test_others_neither_back_it_up_nor_restore_it(
    system: SystemInstance, python: Path, tmp_path: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    code = """
from keyiso.backup.ownership import check_is_ours
from keyiso.paths import server_instance
tell(outcome(lambda: check_is_ours(server_instance(os.environ, system=True))))
"""
    for user in (KEYISO, TRUSTLET, ALICE):
        assert World(python, system.home).run(user, code) == "NTE_PERM"


def test_a_service_that_was_taken_over_leads_root_nowhere(
    system: SystemInstance, tmp_path: Path
) -> None:
    """It puts a link to what only root may read, or write, into its own directory."""
    Key.create("web", "ECDSA_P256").close()
    file = tmp_path / "backup"
    assert backup(file).code == 0
    system.end()
    store = system.instance.store
    secret = tmp_path / "secret.sqlite3"
    shutil.copy(store, secret)
    secret.chmod(0o600)
    before = secret.read_bytes()
    store.unlink()
    for link in (store, store.with_name("keys.sqlite3.restoring")):
        link.symlink_to(secret)
        os.lchown(link, uid_of(KEYISO), -1)

    ended = backup(tmp_path / "another", "--json")

    assert ended.json["error"]["status"] == "KEYISO_E_STORE"
    assert not (tmp_path / "another").exists()
    assert restore(file).code == 0
    assert secret.read_bytes() == before
    assert not store.is_symlink()
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (1,)
    connection.close()
    assert uid_of(KEYISO) == store.stat().st_uid
