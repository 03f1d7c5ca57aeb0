"""Files that are whole or not there, and what is done as somebody else."""

import io
import os
import pwd
import stat
from pathlib import Path

import pytest

from keyiso.backup.files import new_file, put_in_place
from keyiso.backup.machine import machine_hash
from keyiso.backup.ownership import acting_as_owner, check_is_ours
from keyiso.errors import NCryptError
from keyiso.paths import Instance
from keyiso.status import Status

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# --- new files ---------------------------------------------------------------------------------


def test_a_new_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new"
    before = os.umask(0)
    try:
        with new_file(path, replace=False) as file:
            file.write(b"all of it")
            assert not path.exists()
    finally:
        os.umask(before)
    assert path.read_bytes() == b"all of it"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(tmp_path) == {"new"}


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_file(tmp_path / "new", replace=False) as file:
        file.write(b"half")
        raise RuntimeError
    assert names(tmp_path) == set()


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links, as on a memory stick"])
def test_a_file_that_came_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    path = tmp_path / "new"
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(FileExistsError), new_file(path, replace=False) as file:
        file.write(b"ours")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == {"new"}
    with new_file(path, replace=True) as file:
        file.write(b"ours")
    assert path.read_bytes() == b"ours"
    with new_file(tmp_path / "another", replace=False) as file:
        file.write(b"ours")
    assert names(tmp_path) == {"new", "another"}


def no_links(source: str, target: str) -> None:
    raise PermissionError(1, "Operation not permitted", source)


@pytest.mark.parametrize("kind", ["directory", "link", "pipe"])
def test_what_is_no_ordinary_file_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    {
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(os.devnull),
        "pipe": lambda: os.mkfifo(path),
    }[kind]()
    with pytest.raises(FileExistsError), new_file(path, replace=True):
        pytest.fail("it began")


# --- other contents ----------------------------------------------------------------------------


def test_what_was_there_is_kept_under_a_number(tmp_path: Path) -> None:
    path = tmp_path / "file"
    kept = [put_in_place(path, io.BytesIO(data)) for data in (b"1", b"2", b"3")]

    assert path.read_bytes() == b"3"
    assert kept == [None, tmp_path / "file.before-restore-1", tmp_path / "file.before-restore-2"]
    assert [one.read_bytes() for one in kept if one] == [b"1", b"2"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_log_of_a_damaged_database_is_kept_with_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").write_bytes(f"old{suffix}".encode())

    put_in_place(path, io.BytesIO(b"new"))

    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {
        "file": b"new",
        "file.before-restore-1": b"old",
        "file.before-restore-1-wal": b"old-wal",
    }


def test_what_was_there_stays_when_it_cannot_be_done(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        put_in_place(path, Failing())
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


def test_a_link_that_lies_in_wait_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    path = tmp_path / "file"
    path.with_name("file.restoring").symlink_to(precious)

    put_in_place(path, io.BytesIO(b"new"))

    assert (path.read_bytes(), path.is_symlink()) == (b"new", False)
    assert precious.read_bytes() == b"precious"


# --- somebody else -----------------------------------------------------------------------------


def instance_in(directory: Path) -> Instance:
    return Instance(False, directory, directory / "runtime", ())


@needs_root
def test_root_does_a_directorys_things_as_its_owner(tmp_path: Path) -> None:
    games = pwd.getpwnam("games")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    theirs, secret = tmp_path / "theirs", tmp_path / "secret"
    theirs.mkdir()
    os.chown(theirs, games.pw_uid, games.pw_gid)
    secret.write_bytes(b"of root alone")
    secret.chmod(0o600)
    (theirs / "link").symlink_to(secret)

    with acting_as_owner(theirs):
        (theirs / "made").write_bytes(b"")
        with pytest.raises(PermissionError):
            (theirs / "link").read_bytes()
    found = (theirs / "made").stat()
    assert (found.st_uid, found.st_gid) == (games.pw_uid, games.pw_gid)
    assert (os.geteuid(), os.getegid()) == (0, 0)
    assert (theirs / "link").read_bytes() == b"of root alone"
    with pytest.raises(RuntimeError), acting_as_owner(theirs):
        raise RuntimeError
    assert (os.geteuid(), os.getegid()) == (0, 0)


@needs_root
def test_an_instance_of_somebody_else_is_refused_to_root_too(tmp_path: Path) -> None:
    os.chown(tmp_path, pwd.getpwnam("games").pw_uid, -1)

    with pytest.raises(NCryptError) as caught:
        check_is_ours(instance_in(tmp_path))
    assert caught.value.status == Status.NTE_PERM


def test_an_instance_of_our_own_and_one_that_is_not_there(tmp_path: Path) -> None:
    check_is_ours(instance_in(tmp_path))
    check_is_ours(instance_in(tmp_path / "nowhere"))


# --- the machine -------------------------------------------------------------------------------


def test_a_machine_is_told_from_others_and_not_named(tmp_path: Path) -> None:
    one, other, empty = tmp_path / "one", tmp_path / "other", tmp_path / "empty"
    one.write_text("0123456789abcdef0123456789abcdef\n")
    other.write_text("fedcba9876543210fedcba9876543210\n")
    empty.write_text("\n")

    assert machine_hash(one) == machine_hash(one) != machine_hash(other)
    assert len(machine_hash(one)) == 16
    assert bytes.fromhex(one.read_text().strip()) != machine_hash(one)
    assert machine_hash(empty) == machine_hash(tmp_path / "nowhere") == b""
