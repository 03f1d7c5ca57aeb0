"""Which Python runs a process of keyiso, and from where it imports."""

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from keyiso import interpreter
from keyiso.errors import NCryptError
from keyiso.interpreter import module_command


def test_elsewhere_than_in_a_users_packages_python_finds_it() -> None:
    assert module_command("keyiso.supervisor", "--detach") == [
        *(sys.executable, "-I", "-m", "keyiso.supervisor", "--detach")
    ]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of keyiso in the packages of a user, who is this process."""
    home = tmp_path / "home"
    packages = Path(
        sysconfig.get_path("purelib", "posix_user", vars={"userbase": str(home / ".local")})
    )
    shutil.copytree(Path(interpreter.__file__).parent, packages / "keyiso")
    entry = pwd.getpwuid(os.geteuid())
    fields = [*entry[:5], str(home), entry.pw_shell]
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(fields))
    monkeypatch.setattr(interpreter, "_PACKAGE", packages / "keyiso")
    monkeypatch.setattr(interpreter, "_STARTER", packages / "keyiso" / "_from_user_site.py")
    return packages


def test_a_users_own_packages_are_named(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() == 0:  # what root owns may be started by anybody
        monkeypatch.setattr(os, "geteuid", lambda: 4242)
        monkeypatch.setattr(os, "getuid", lambda: 4242)
    starter = str(installed / "keyiso" / "_from_user_site.py")

    assert module_command("keyiso.cli", "x") == [sys.executable, "-I", starter, "keyiso.cli", "x"]


@pytest.mark.parametrize("ids", [(0, 0), (4242, 0), (0, 4242)], ids=["root", "real", "effective"])
def test_who_has_roots_rights_starts_nothing_from_a_users_packages(
    ids: tuple[int, int], installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: ids[0])
    monkeypatch.setattr(os, "geteuid", lambda: ids[1])

    with pytest.raises(NCryptError, match="installed for one user alone"):
        module_command("keyiso.supervisor")


def test_who_is_in_no_user_database_has_no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert module_command("keyiso.supervisor")[1:3] == ["-I", "-m"]


def test_the_packages_come_before_those_of_the_system(tmp_path: Path) -> None:
    """As where Python has them itself: a distribution's older `cryptography` is not used."""
    (tmp_path / "keyiso").mkdir()
    starter = Path(interpreter.__file__).with_name("_from_user_site.py")
    shutil.copy(starter, tmp_path / "keyiso")
    (tmp_path / "tells.py").write_text("import sys\nprint(*sys.argv[1:], *sys.path, sep='\\n')\n")

    ended = subprocess.run(
        [sys.executable, "-I", tmp_path / "keyiso" / "_from_user_site.py", "tells", "--x"],
        capture_output=True,
        text=True,
        check=True,
    )
    option, *paths = ended.stdout.splitlines()
    assert option == "--x"
    assert str(tmp_path / "keyiso") not in paths
    at = paths.index(str(tmp_path))
    assert at < paths.index(sysconfig.get_path("purelib"))
    assert at > paths.index(sysconfig.get_path("stdlib"))
