"""Root files: made once, whole, for one user, and refused when they are damaged."""

import os
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.trustlet.roots import boot_root, machine_root

BOOT, OTHER_BOOT = b"b" * 16, b"c" * 16


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "machine-root"


def root_file(kind: str, root_id: bytes, secret: bytes, boot_id: bytes = b"") -> bytes:
    return b"\1" + msgspec.msgpack.encode((kind, root_id, secret, boot_id))


def machine(path: Path, *, may_create: bool = True) -> Root:
    root = machine_root(path, may_create=may_create)
    assert root is not None
    return root


def status_of_reading(path: Path) -> int:
    with pytest.raises(NCryptError) as caught:
        machine_root(path, may_create=True)
    return caught.value.status


def test_a_root_is_random_and_of_its_kind(tmp_path: Path) -> None:
    roots = [machine(tmp_path / str(number)) for number in range(5)]
    boot = boot_root(tmp_path, BOOT)

    assert len({root.secret for root in roots}) == len({root.root_id for root in roots}) == 5
    assert {root.kind for root in roots} == {"machine"}
    assert boot.kind == "boot"
    assert all(len(root.secret) == SECRET_BYTES == 32 for root in (*roots, boot))
    assert all(len(root.root_id) == 16 for root in (*roots, boot))


def test_a_root_lasts(path: Path) -> None:
    assert machine(path) == machine(path) == machine(path, may_create=False)
    assert boot_root(path.parent, BOOT) == boot_root(path.parent, BOOT)


def test_a_root_is_for_its_user_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        machine(path)
        boot_root(path.parent, BOOT)
    finally:
        os.umask(before)

    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


def test_no_root_is_made_over_keys_that_need_the_old_one(path: Path) -> None:
    assert machine_root(path, may_create=False) is None
    assert not path.exists()


def test_another_boot_has_another_root_and_the_old_one_goes(tmp_path: Path) -> None:
    first = boot_root(tmp_path, BOOT)
    second = boot_root(tmp_path, OTHER_BOOT)

    assert first.root_id != second.root_id
    assert first.secret != second.secret
    assert [OTHER_BOOT.hex() in one.name for one in tmp_path.iterdir()] == [True]
    assert boot_root(tmp_path, BOOT) != first


def test_of_many_that_make_a_root_at_once_one_wins(tmp_path: Path) -> None:
    """Every worker of an instance starts at the same time."""
    found: list[Root] = []
    barrier = threading.Barrier(8)

    def make() -> None:
        barrier.wait()
        found.extend([machine(tmp_path / "machine-root"), boot_root(tmp_path, BOOT)])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 16
    assert len({root.secret for root in found}) == 2
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("version", [b"\0", b"\2", b"x", b""])
def test_another_version_is_refused_and_left_alone(path: Path, version: bytes) -> None:
    data = version + root_file("machine", b"r" * 16, b"s" * 32)[1:] if version else b""
    path.write_bytes(data)

    assert status_of_reading(path) == Status.NTE_BAD_VER
    assert path.read_bytes() == data


DAMAGED = {
    "only a version": b"\1",
    "cut short": root_file("machine", b"r" * 16, b"s" * 32)[:-3],
    "something behind": root_file("machine", b"r" * 16, b"s" * 32) + b"\0",
    "no array": b"\1\xc0",
    "another kind": root_file("world", b"r" * 16, b"s" * 32),
    "too few fields": b"\1" + msgspec.msgpack.encode(("machine", b"r" * 16)),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_root_is_refused_and_left_alone(path: Path, data: bytes) -> None:
    """A new root over it would end every key for good."""
    path.write_bytes(data)

    assert status_of_reading(path) == Status.NTE_BAD_DATA
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "data",
    [
        root_file("machine", b"r" * 16, b""),
        root_file("machine", b"r" * 16, b"s" * 31),
        root_file("machine", b"r" * 16, b"s" * 33),
        root_file("machine", b"", b"s" * 32),
        root_file("boot", b"r" * 16, b"s" * 32, BOOT),
    ],
    ids=["no secret", "short secret", "long secret", "no id", "of a boot"],
)
def test_a_root_that_cannot_be_one_is_refused(path: Path, data: bytes) -> None:
    """An empty secret would seal as well as a good one, and everybody knows it."""
    path.write_bytes(data)

    assert status_of_reading(path) == Status.NTE_BAD_DATA


def test_a_boot_root_of_another_boot_is_not_used(tmp_path: Path) -> None:
    boot_root(tmp_path, OTHER_BOOT)
    (other,) = tmp_path.iterdir()
    data = other.read_bytes()
    (tmp_path / other.name.replace(OTHER_BOOT.hex(), BOOT.hex())).write_bytes(data)

    with pytest.raises(NCryptError) as caught:
        boot_root(tmp_path, BOOT)
    assert caught.value.status == Status.NTE_BAD_DATA


def test_nothing_is_left_behind_when_a_root_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space"):
        machine_root(tmp_path / "machine-root", may_create=True)
    assert list(tmp_path.iterdir()) == []
