"""Where an instance is: for whom, how long its paths are, and whose directories it enters."""

import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import paths
from keyiso.errors import NCryptError
from keyiso.paths import (
    SOCKET_ADDRESS_BYTES,
    Instance,
    client_instance,
    make_private_directory,
    runtime_link,
    server_instance,
)
from keyiso.status import Status

UID = os.getuid()


@pytest.fixture(autouse=True)
def no_instance_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directories of a system instance are in the test's own."""
    for name in ("STATE", "RUNTIME", "CONFIG"):
        monkeypatch.setattr(paths, f"_SYSTEM_{name}", tmp_path / "system" / name.lower())


@pytest.fixture
def run() -> Iterator[Path]:
    """A runtime directory; a test's own directory would be too long for one."""
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def user(tmp_path: Path, run: Path) -> dict[str, str]:
    """The environment of a user with a home and a runtime directory."""
    return {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(run)}


def every_socket(instance: Instance) -> list[Path]:
    workers = [f"software-{number}.sock" for number in range(256)] + ["software-generator.sock"]
    return [
        instance.control_socket,
        instance.supervisor_socket,
        *(instance.workers / name for name in workers),
    ]


def assert_short_enough(instance: Instance) -> None:
    for path in every_socket(instance):
        assert len(os.fsencode(path)) <= SOCKET_ADDRESS_BYTES


# --- which instance ----------------------------------------------------------------------------


def test_a_user_has_an_instance_of_his_own(user: dict[str, str], tmp_path: Path, run: Path) -> None:
    instance = client_instance(user)

    assert not instance.system
    assert instance.state == tmp_path / "home/.local/share/keyiso"
    assert instance.runtime == run / "keyiso"
    assert instance.config == (tmp_path / "home/.config/keyiso", tmp_path / "system/config")
    assert server_instance(user, system=False) == instance


def test_xdg_directories_are_used_where_they_are_set(user: dict[str, str], tmp_path: Path) -> None:
    environ = user | {"XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "/config"}
    instance = client_instance(environ)

    assert instance.state == Path("/data/keyiso")
    assert instance.config[0] == Path("/config/keyiso")


def test_empty_variables_are_as_if_they_were_not_set(user: dict[str, str]) -> None:
    empty = dict.fromkeys(["KEYISO_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"], "")

    assert client_instance(user | empty) == client_instance(user)


def test_without_home_the_password_database_says_where(user: dict[str, str]) -> None:
    del user["HOME"]
    home = pwd.getpwuid(UID).pw_dir

    assert client_instance(user).state == Path(home, ".local/share/keyiso")


def test_clients_use_the_system_instance_where_there_is_one(
    user: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "system/runtime").mkdir(parents=True)
    (tmp_path / "system/runtime/control.sock").touch()
    instance = client_instance(user)

    assert instance.system
    assert instance == server_instance(user, system=True)
    assert not server_instance(user, system=False).system


def test_the_system_instance_is_nobodys_environment(user: dict[str, str]) -> None:
    """Neither a home nor a runtime directory of who starts it."""
    everything = user | {"XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "/config"}

    assert server_instance(everything, system=True) == server_instance({}, system=True)


# --- KEYISO_HOME -------------------------------------------------------------------------------


def test_keyiso_home_is_an_instance_of_its_own(user: dict[str, str], run: Path) -> None:
    instance = client_instance(user | {"KEYISO_HOME": "/somewhere"})

    assert instance.state == Path("/somewhere/state")
    assert instance.config == (Path("/somewhere/config"),)
    assert instance.runtime.parent == run
    assert instance == server_instance(user | {"KEYISO_HOME": "/somewhere"}, system=False)


def test_keyiso_home_goes_before_the_system_instance(user: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "system/runtime").mkdir(parents=True)
    (tmp_path / "system/runtime/control.sock").touch()

    assert not client_instance(user | {"KEYISO_HOME": "/somewhere"}).system


def test_two_homes_have_two_runtime_directories(user: dict[str, str]) -> None:
    homes = ["/a", "/b", "/a/b", "/long" * 100]
    found = {client_instance(user | {"KEYISO_HOME": home}).runtime for home in homes}

    assert len(found | {client_instance(user).runtime}) == len(homes) + 1


@pytest.mark.parametrize("spelling", ["/a/b", "/a/b/", "/a//b", "/a/./b", "/a/c/../b"])
def test_one_home_is_one_instance_however_it_is_written(
    user: dict[str, str], spelling: str
) -> None:
    assert client_instance(user | {"KEYISO_HOME": spelling}) == client_instance(
        user | {"KEYISO_HOME": "/a/b"}
    )


def test_a_relative_home_is_one_of_the_working_directory(
    user: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert client_instance(user | {"KEYISO_HOME": "here"}).state == tmp_path / "here/state"


def test_clients_follow_the_link_that_the_server_left(user: dict[str, str], tmp_path: Path) -> None:
    """A client of another uid, or with another XDG_RUNTIME_DIR, would compute another place."""
    environ = user | {"KEYISO_HOME": str(tmp_path)}
    computed = client_instance(environ).runtime
    runtime_link(tmp_path).symlink_to("/run/where-the-server-is")

    assert client_instance(environ).runtime == Path("/run/where-the-server-is")
    assert server_instance(environ, system=False).runtime == computed


def test_what_is_no_link_is_not_followed(user: dict[str, str], tmp_path: Path) -> None:
    environ = user | {"KEYISO_HOME": str(tmp_path)}
    computed = client_instance(environ).runtime
    runtime_link(tmp_path).mkdir()

    assert client_instance(environ).runtime == computed


def test_keyiso_home_is_ignored_with_more_rights_than_the_caller(
    user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set-user-ID program must not be led to a socket of who runs it."""
    monkeypatch.setattr(paths, "runs_with_more_rights", lambda: True)

    assert client_instance(user | {"KEYISO_HOME": "/mine"}) == client_instance(user)
    assert server_instance(user | {"KEYISO_HOME": "/mine"}, system=True) == (
        server_instance(user, system=True)
    )


# --- short enough ------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3, 10, 30, 200])
def test_sockets_have_room_for_any_home(user: dict[str, str], depth: int) -> None:
    home = "/twenty-characters.." * depth
    assert_short_enough(client_instance(user | {"KEYISO_HOME": home}))
    assert_short_enough(server_instance(user | {"KEYISO_HOME": home}, system=True))
    assert_short_enough(client_instance(user | {"HOME": home}))


@pytest.mark.parametrize("more", range(0, 80, 5))
def test_a_runtime_directory_is_used_only_while_sockets_have_room(run: Path, more: int) -> None:
    base = run / ("r" * (more + 1))
    base.mkdir()
    found = [
        client_instance({"HOME": "/h", "XDG_RUNTIME_DIR": str(base), **environ})
        for environ in ({}, {"KEYISO_HOME": "/k"})
    ]

    for instance in found:
        assert_short_enough(instance)
    if len(str(base)) < 40:
        assert [instance.runtime.parent for instance in found] == [base, base]


def test_bytes_count_and_not_characters(run: Path) -> None:
    base = run / ("ü" * 30)
    base.mkdir()

    assert_short_enough(client_instance({"HOME": "/h", "XDG_RUNTIME_DIR": str(base)}))


@pytest.mark.parametrize("base", ["relative", "/does/not/exist", "/dev/null"])
def test_without_a_usable_runtime_directory_it_is_one_in_tmp(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4711)  # who has no /run/user
    monkeypatch.setattr(
        os, "access", lambda path, mode: not str(path).startswith(("/run", "/does", "/dev"))
    )
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": base}

    assert client_instance(environ).runtime == Path("/tmp/keyiso-4711")
    assert client_instance(environ | {"KEYISO_HOME": "/k"}).runtime.name.startswith("keyiso-4711-")


def test_a_directory_of_the_login_is_used_where_the_variable_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path == f"/run/user/{UID}")

    assert client_instance({"HOME": "/h"}).runtime == Path(f"/run/user/{UID}/keyiso")


def test_nothing_of_an_instance_lies_outside_of_its_directories(user: dict[str, str]) -> None:
    instance = client_instance(user)
    persistent = [
        instance.lock,
        instance.start_lock,
        instance.log,
        instance.served_with,
        instance.store,
        instance.events,
        instance.software_machine_root,
    ]

    assert all(path.is_relative_to(instance.state) for path in persistent)
    assert all(
        path.is_relative_to(instance.runtime)
        for path in (*every_socket(instance), instance.software_boot_roots)
    )


# --- directories of our own --------------------------------------------------------------------


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def status_of_making(path: Path) -> int:
    with pytest.raises(NCryptError, match=str(path)) as caught:
        make_private_directory(path)
    return caught.value.status


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_is_made_with_its_mode_whatever_the_umask(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        make_private_directory(tmp_path / "new", mode=mode)
    finally:
        os.umask(before)

    assert mode_of(tmp_path / "new") == mode


def test_a_directory_that_is_ours_is_used_again_and_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o777)
    (tmp_path / "ours").chmod(0o777)
    (tmp_path / "ours" / "file").touch()
    make_private_directory(tmp_path / "ours")

    assert mode_of(tmp_path / "ours") == 0o700
    assert (tmp_path / "ours" / "file").exists()


def test_missing_parents_are_made(tmp_path: Path) -> None:
    make_private_directory(tmp_path / "a" / "b" / "c")

    assert mode_of(tmp_path / "a" / "b" / "c") == 0o700


def test_a_link_or_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()

    for name in ("link", "dangling", "file"):
        assert status_of_making(tmp_path / name) == Status.KEYISO_E_PEER_REFUSED
    assert mode_of(tmp_path / "target") == 0o755
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(UID != 0, reason="only root can make a directory of another user")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    """In /tmp anybody may have been faster."""
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 4711, 4711)

    assert status_of_making(tmp_path / "theirs") == Status.KEYISO_E_PEER_REFUSED


def test_a_directory_of_another_user_is_refused_also_without_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is we who are another user than its owner; root's directories are trusted."""
    (tmp_path / "theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: UID + 4711)

    if UID == 0:
        make_private_directory(tmp_path / "theirs")
    else:
        assert status_of_making(tmp_path / "theirs") == Status.KEYISO_E_PEER_REFUSED
