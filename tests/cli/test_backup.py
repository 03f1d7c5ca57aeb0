"""``keyiso backup`` and ``keyiso restore``: what comes back, what does not, and what is said."""

import contextlib
import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso import EphemeralKeyGoneError, Key, KeyNotFoundError, Provider
from keyiso.backup.restoring import held
from keyiso.client.binding import bind_process
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.router import process_router
from keyiso.wire.control import CreateKey, DeleteKey, OpenEphemeral, ReleaseEphemeral
from keyiso.wire.key_terms import KeyTerms
from tests.cli.command import assert_reads, keyiso, on_terminal
from tests.conformance.ready import wait_for_workers
from tests.instance import RunningInstance

DATA = b"data"
PASSWORD = b"correct horse battery"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the backup goes."""
    return tmp_path / "keys.backup"


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_bytes(PASSWORD + b"\n")
    return path


def backed_up(file: Path, *options: str | Path) -> Any:
    """A backup that was made, as a program sees it."""
    ended = keyiso("backup", file, "--json", *options)
    assert ended.code == 0, ended.text + ended.errors
    return ended.json


def restored(file: Path, *options: str | Path) -> Any:
    """A restore that was made, as a program sees it."""
    ended = keyiso("restore", file, "--yes", "--json", *options)
    assert ended.code == 0, ended.text + ended.errors
    return ended.json


def names(keys: Any) -> list[str]:
    return sorted(key["name"] for key in keys)


def status_of(*arguments: str | Path) -> str:
    """The status with which a command fails."""
    ended = keyiso(*arguments, "--json")
    assert ended.code not in (0, 2), ended.text
    return str(ended.json["error"]["status"])


def listed() -> list[str]:
    with Provider() as provider:
        return [key.pszName for key in provider.keys()]


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a directory, but for what SQLite keeps beside an open database."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in directory.rglob("*")
        if not path.name.endswith(("-wal", "-shm"))
    }


@contextlib.contextmanager
def another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningInstance]:
    """A home with nothing in it, which everything here uses meanwhile."""
    with monkeypatch.context() as patch:
        patch.setenv("KEYISO_HOME", str(tmp_path / "another"))
        process_router.cache_clear()
        other = RunningInstance(tmp_path / "another")
        try:
            yield other
        finally:
            process_router.cache_clear()
            other.end()
            shutil.rmtree(other.instance.runtime, ignore_errors=True)


# --- what comes back ---------------------------------------------------------------------------


def test_every_key_comes_back_after_the_store_was_lost(
    instance: RunningInstance, file: Path
) -> None:
    keys = [
        Key.create("web", "ECDSA_P256"),
        Key.create("token", "RSA"),
        Key.create("new", "ED25519"),
        Key.create("of the machine", "ECDSA_P384", machine=True),
    ]
    signatures = {key.name: key.sign(DATA) for key in keys}
    before = {key.name: (key.unique_name, key.machine) for key in keys}
    told = backed_up(file)
    assert (told["backup"]["user_keys"], told["backup"]["machine_keys"]) == (3, 1)
    instance.end()
    shutil.rmtree(instance.instance.store.parent)

    told = restored(file)

    assert names(told["returning"]) == sorted(str(name) for name in before)
    assert (told["root"], told["kept"]) == ("keep", [])
    instance.start()
    for name, (unique_name, machine) in before.items():
        assert name is not None
        with Key.open(name, machine=machine) as key:
            assert key.unique_name == unique_name
            key.verify(signatures[name], DATA)
            key.verify(key.sign(DATA), DATA)


def test_a_handle_lives_through_stop_restore_and_start(
    instance: RunningInstance, file: Path
) -> None:
    with Key.create("web", "ECDSA_P256") as web, Key.create("other", "ECDSA_P256") as other:
        signature = web.sign(DATA)
        backed_up(file)
        with Key.create("web", "ECDSA_P256", overwrite=True) as newer:
            instance.end()
            told = restored(file)
            instance.start()

            assert names(told["replacing"]) == ["web"]
            web.verify(signature, DATA)
            web.verify(web.sign(DATA), DATA)
            other.verify(other.sign(DATA), DATA)
            with pytest.raises(KeyNotFoundError):  # never the restored one of that name
                newer.sign(DATA)


def test_a_restore_turns_time_back_and_says_so(instance: RunningInstance, file: Path) -> None:
    for name in ("deleted since", "replaced since", "untouched"):
        Key.create(name, "ECDSA_P256").close()
    with Key.open("replaced since") as key:
        old = key.unique_name
    backed_up(file)
    with Key.open("deleted since") as key:
        key.delete()
    Key.create("replaced since", "ECDSA_P256", overwrite=True).close()
    Key.create("made since", "ECDSA_P256").close()
    instance.end()

    ended = keyiso("restore", file, "--yes")

    assert ended.code == 0
    assert_reads(
        ended.text,
        """\
Backup:       ...keys.backup
Made:         20..., by keyiso ..., on this machine
Keys:         3 of users, 0 of the machine
Goes to:      ...
Machine root: not in the backup; the one that is here stays

Come back, as nothing here has their name (1):
  'deleted since' of uid ...
Take the place of other keys of their name, which END (1):
  'replaced since' of uid ...
END, as they are not in the backup (1):
  'made since' of uid ...
In no backup:
  ephemeral keys: ...
  per-boot keys: ...
  keys that are made after a backup, ...
A restore turns time back (rollback: not stopped): ...

Restored into ...
What was there is kept as ...keys.sqlite3.before-restore-1.
The next program that uses a key starts keyiso again.
""",
    )
    instance.start()
    assert sorted(listed()) == ["deleted since", "replaced since", "untouched"]
    with Key.open("replaced since") as key:
        assert key.unique_name == old
        key.verify(key.sign(DATA), DATA)
    with Key.open("deleted since") as key:
        key.verify(key.sign(DATA), DATA)


def test_what_was_there_is_kept_each_time(instance: RunningInstance, file: Path) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    Key.create("since", "ECDSA_P256").close()
    instance.end()
    store = instance.instance.store
    first = store.read_bytes()

    kept = [restored(file)["kept"], restored(file)["kept"]]

    assert kept == [[f"{store}.before-restore-1"], [f"{store}.before-restore-2"]]
    assert Path(kept[0][0]).read_bytes() == first
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    shutil.copy(kept[0][0], store)  # and it is a whole store
    instance.start()
    assert sorted(listed()) == ["since", "web"]


def test_an_ephemeral_key_lives_on_and_a_freed_one_stays_freed(
    instance: RunningInstance, file: Path
) -> None:
    Key.create("makes the store", "ECDSA_P256").close()
    binding = bind_process(os.environ)
    freed = binding.control(CreateKey(terms(binding.operation_id())))
    backed_up(file)
    with Key.create(None, "ECDSA_P256") as living:
        binding.control(ReleaseEphemeral(freed.blob))
        instance.end()
        restored(file)
        instance.start()

        living.verify(living.sign(DATA), DATA)
        with pytest.raises(EphemeralKeyGoneError):
            binding.control(OpenEphemeral(freed.blob, b"c" * 16, b"i" * 16))


def terms(operation_id: bytes) -> KeyTerms:
    """Of an ephemeral key."""
    return KeyTerms(
        operation_id=operation_id,
        provider=MS_KEY_STORAGE_PROVIDER,
        scope="user",
        owner=os.geteuid(),
        name=b"",
        lifetime="ephemeral",
        algorithm="ECDSA_P256",
        bits=256,
        usage=0xFFFFFF,
        export_policy=0,
        overwrite=False,
    )


def test_a_delete_that_is_repeated_after_a_restore_is_done_again(
    instance: RunningInstance, file: Path
) -> None:
    """Its operation id is forgotten with everything else that came after the backup."""
    with Key.create("web", "ECDSA_P256") as key:
        key_id = bytes.fromhex(key.unique_name)
    backed_up(file)
    binding = bind_process(os.environ)
    name = "web".encode("utf-16-le")
    delete = DeleteKey(binding.operation_id(), MS_KEY_STORAGE_PROVIDER, "user", name, key_id)
    binding.control(delete)
    instance.end()
    restored(file)
    instance.start()
    assert listed() == ["web"]

    binding.control(delete)

    assert listed() == []


# --- while it is in use, and after it was killed -----------------------------------------------


def test_a_backup_is_of_one_moment_while_keys_come_and_go(
    instance: RunningInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs of keys are made and deleted in order: there is never a second without its first."""
    done = threading.Event()
    made = threading.Event()

    def change() -> None:
        number = 0
        while not done.is_set():
            number += 1
            first = Key.create(f"{number:05} first", "ECDSA_P256")
            second = Key.create(f"{number:05} second", "ECDSA_P256")
            second.delete()
            first.delete()
            Key.create(f"{number:05} stays", "ECDSA_P256").close()
            made.set()

    changing = threading.Thread(target=change)
    changing.start()
    try:
        assert made.wait(60)
        backups = [tmp_path / f"backup {number}" for number in range(5)]
        told = [backed_up(file) for file in backups]
    finally:
        done.set()
        changing.join()
    counts = [one["backup"]["user_keys"] for one in told]
    assert counts[-1] > counts[0] > 0, "nothing changed meanwhile"

    with another_machine(tmp_path, monkeypatch):
        for file, count in zip(backups, counts, strict=True):
            ended = keyiso("restore", file, "--dry-run", "--json")
            found = names(ended.json["returning"])
            assert len(found) == count
            stays = [name for name in found if name.endswith("stays")]
            assert [int(name[:5]) for name in stays] == list(range(1, len(stays) + 1))
            rest = [name for name in found if name not in stays]
            assert (
                rest == [f"{len(stays) + 1:05} {one}" for one in ("first", "second")][: len(rest)]
            )


def test_a_backup_of_what_was_killed_has_all_that_was_committed(
    instance: RunningInstance, file: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    instance.kill_everything()
    assert log_of(instance).stat().st_size, "all was in the store itself"

    assert backed_up(file)["backup"]["user_keys"] == 1


def test_what_is_kept_of_a_killed_store_has_all_that_was_committed(
    instance: RunningInstance, file: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    Key.create("since", "ECDSA_P256").close()
    instance.kill_everything()
    assert log_of(instance).stat().st_size

    told = restored(file)

    assert names(told["ending"]) == ["since"]
    assert not log_of(instance).exists()
    (kept,) = told["kept"]
    with contextlib.closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM keys").fetchone() == (2,)


def test_a_damaged_store_is_replaced_and_kept(instance: RunningInstance, file: Path) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    instance.end()
    store = instance.instance.store
    damaged = store.read_bytes()[:5000]
    store.write_bytes(damaged)
    assert status_of("backup", file.with_name("another")) in ("KEYISO_E_STORE", "NTE_BAD_DATA")

    ended = keyiso("restore", file, "--yes")

    assert ended.code == 0, ended.errors
    assert "The keys that are here now cannot be read" in ended.text
    assert store.with_name(store.name + ".before-restore-1").read_bytes() == damaged
    instance.start()
    with Key.open("web") as key:
        key.verify(key.sign(DATA), DATA)


def log_of(instance: RunningInstance) -> Path:
    store = instance.instance.store
    return store.with_name(store.name + "-wal")


# --- the root ----------------------------------------------------------------------------------


def test_without_its_root_a_backup_opens_nothing_elsewhere(
    instance: RunningInstance, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    with another_machine(tmp_path, monkeypatch) as other:
        ended = keyiso("restore", file, "--yes")

        assert ended.code == 0
        assert "NEITHER IN THE BACKUP NOR HERE" in ended.text
        assert "Do not open, as the root that seals them is not here (1):\n  'web' of" in ended.text
        other.start()
        assert listed() == ["web"]
        for command in (("key", "sign", "web", file), ("key", "create", "n", "--algorithm", "RSA")):
            assert status_of(*command) == "KEYISO_E_ROOT_MISSING"


def test_with_its_root_a_backup_is_enough(
    instance: RunningInstance,
    file: Path,
    password: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        signature, unique_name = key.sign(DATA), key.unique_name
    ended = keyiso("backup", file, "--with-root", "--password-file", password)
    assert "WHOEVER HAS THIS FILE AND ITS PASSWORD HAS THE KEYS" in ended.text
    with another_machine(tmp_path, monkeypatch) as other:
        told = restored(file, "--password-file", password)

        assert (told["root"], told["cannot_open"]["root_missing"]) == ("install", [])
        root = other.instance.software_machine_root
        assert root.read_bytes() == instance.instance.software_machine_root.read_bytes()
        assert stat.S_IMODE(root.stat().st_mode) == 0o600
        other.start()
        with Key.open("web") as key:
            assert key.unique_name == unique_name
            key.verify(signature, DATA)
            key.verify(key.sign(DATA), DATA)
        Key.create("more", "ECDSA_P256").close()


def test_the_password_is_typed_twice_to_make_and_once_to_use_it(
    instance: RunningInstance, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Key.create("web", "ECDSA_P256").close()
    code, seen = on_terminal(
        *("backup", str(file), "--with-root"),
        prompt=b"New password of the backup: ",
        typed=PASSWORD + b"\n",
        then=[(b"Repeat for confirmation: ", PASSWORD + b"\n")],
    )
    assert code == 0, seen
    with another_machine(tmp_path, monkeypatch):
        code, other_seen = on_terminal(
            *("restore", str(file), "--yes"),
            prompt=b"Password of the backup: ",
            typed=PASSWORD + b"\n",
        )
        assert code == 0, other_seen
        assert listed() == ["web"]
    assert PASSWORD not in seen + other_seen


def test_a_wrong_password_changes_nothing(
    instance: RunningInstance,
    file: Path,
    password: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file, "--with-root", "--password-file", password)
    password.write_bytes(PASSWORD[:-1])
    with another_machine(tmp_path, monkeypatch) as other:
        ended = keyiso("restore", file, "--yes", "--password-file", password)

        assert ended.code == 1
        assert "the password is wrong" in ended.errors
        assert not other.instance.store.parent.exists()
        assert keyiso("restore", file, "--yes").code == 2, "nobody to ask"


@pytest.mark.parametrize("typed", [b"", b"short", b"x" * 1024])
def test_a_root_needs_a_password_of_some_length(
    instance: RunningInstance, file: Path, password: Path, typed: bytes
) -> None:
    Key.create("web", "ECDSA_P256").close()
    password.write_bytes(typed)

    ended = keyiso("backup", file, "--with-root", "--password-file", password)

    assert ended.code == (1 if typed else 2)
    assert not file.exists()


def test_no_backup_has_a_secret_in_the_clear(
    instance: RunningInstance, file: Path, password: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    secret = instance.instance.software_machine_root.read_bytes()[1:]

    for options in ((), ("--with-root", "--password-file", password)):
        ended = keyiso("backup", file, "--force", *options)
        assert ended.code == 0
        written = file.read_bytes() + ended.output + ended.errors.encode()
        assert PASSWORD not in written
        assert not any(secret[start : start + 8] in written for start in range(28, 52))


def test_another_root_is_replaced_only_on_demand_and_kept(
    instance: RunningInstance,
    file: Path,
    password: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file, "--with-root", "--password-file", password)
    with another_machine(tmp_path, monkeypatch) as other:
        other.start()
        Key.create("theirs", "ECDSA_P256").close()
        other.end()
        root = other.instance.software_machine_root
        before, theirs = tree(other.home), root.read_bytes()
        options = ("--yes", "--password-file", password)

        assert status_of("restore", file, *options) == "KEYISO_E_ROOT_MISSING"
        assert tree(other.home) == before
        told = restored(file, *options, "--replace-root")

        assert told["root"] == "replace"
        assert told["kept"] == [
            f"{root}.before-restore-1",
            f"{other.instance.store}.before-restore-1",
        ]
        assert Path(told["kept"][0]).read_bytes() == theirs
        other.start()
        with Key.open("web") as key:
            key.verify(key.sign(DATA), DATA)


def test_where_its_root_still_is_no_password_is_needed(
    instance: RunningInstance, file: Path, password: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file, "--with-root", "--password-file", password)
    instance.end()

    assert restored(file)["root"] == "same"


def test_a_lost_root_is_told_when_the_backup_is_made(
    instance: RunningInstance, file: Path, password: Path
) -> None:
    wait_for_workers(instance)  # one that starts without a root would make another
    Key.create("web", "ECDSA_P256").close()
    instance.instance.software_machine_root.unlink()

    assert names(backed_up(file)["cannot_open"]["root_missing"]) == ["web"]
    options = ("--with-root", "--password-file", password, "--force")
    assert status_of("backup", file, *options) == "KEYISO_E_ROOT_MISSING"


def test_where_another_root_is_the_keys_do_not_open_and_others_do(
    instance: RunningInstance, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    with another_machine(tmp_path, monkeypatch) as other:
        other.start()
        Key.create("theirs", "ECDSA_P256").close()
        other.end()

        told = restored(file)

        assert (told["root"], names(told["cannot_open"]["root_missing"])) == ("keep", ["web"])
        other.start()
        assert status_of("key", "sign", "web", file) == "NTE_BAD_DATA"
        with Key.create("new", "ECDSA_P256") as key:
            key.verify(key.sign(DATA), DATA)


# --- what is refused ---------------------------------------------------------------------------


def test_a_backup_never_takes_the_place_of_something_unasked(
    instance: RunningInstance, file: Path
) -> None:
    Key.create("web", "ECDSA_P256").close()
    file.write_bytes(b"mine")
    assert keyiso("backup", file).code == 2
    assert file.read_bytes() == b"mine"
    assert keyiso("backup", file, "--force").code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    link = file.with_name("link")
    link.symlink_to(file)
    for other in (link, file.parent):
        assert keyiso("backup", other, "--force").code == 2
    assert {path.name for path in file.parent.iterdir()} == {"home", "keys.backup", "link"}


def test_there_is_nothing_to_back_up(instance: RunningInstance, file: Path) -> None:
    assert status_of("backup", file) == "NTE_NOT_FOUND"
    assert not file.exists()


def test_a_running_instance_is_not_restored(instance: RunningInstance, file: Path) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    with Key.open("web") as key:
        key.delete()

    ended = keyiso("restore", file, "--yes")

    assert ended.code == 1
    assert "keyiso stop" in ended.errors
    assert listed() == []


def test_a_dry_run_changes_nothing(
    instance: RunningInstance, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it may run beside a keyiso that runs."""
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    before = tree(instance.home)

    ended = keyiso("restore", file, "--dry-run")

    assert ended.code == 0
    assert ended.text.endswith("Nothing was done.\n")
    assert tree(instance.home) == before
    with another_machine(tmp_path, monkeypatch) as other:
        assert keyiso("restore", file, "--dry-run").code == 0
        assert not other.home.exists()


def test_it_asks_first(instance: RunningInstance, file: Path) -> None:
    Key.create("web", "ECDSA_P256").close()
    backed_up(file)
    instance.end()
    store = instance.instance.store
    before = store.read_bytes()
    assert keyiso("restore", file).code == 2  # nobody to ask

    code, seen = on_terminal("restore", str(file), prompt=b"[y/N]: ", typed=b"n\n")
    assert (code, b"Nothing was done." in seen) == (1, True)
    assert store.read_bytes() == before
    code, seen = on_terminal("restore", str(file), prompt=b"[y/N]: ", typed=b"y\n")
    assert (code, b"Restored into" in seen) == (0, True)


def test_nobody_starts_what_is_being_restored(instance: RunningInstance, file: Path) -> None:
    Key.create("web", "ECDSA_P256").close()
    instance.end()
    with held(instance.instance):
        assert keyiso("serve").code == 9
    assert listed() == ["web"]
