"""keyiso installed by one user for himself (``pip install --user``), which ``python -I`` ignores.

Needs root, which gives a user of its own, with a home, to processes that see another /etc/passwd.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.readable_tree import SITE, Unreadable, copy_packages, interpreter

UID = 61_234
SECONDS = 60

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")

MARKER = """
with open({file!r}, 'a') as file:
    file.write(' '.join(open('/proc/self/cmdline').read().split('\\0')[:2]) + '\\n')
"""
"""Tells who has run it."""

PROGRAM = """
import json, os, select, signal
from keyiso import Key, NCryptError
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import stop_instance, supervisor_status
from keyiso.paths import client_instance

told = {}
try:
    with Key.create('web', 'ECDSA_P256', overwrite=True) as key:
        key.sign(b'data')
        status = supervisor_status(client_instance(os.environ), trusted_uids())
        pids = [status.pid, *(one.pid for one in status.processes if one.pid)]
        told['commands'] = [
            open(f'/proc/{pid}/cmdline').read().split('\\0') for pid in pids
        ]
        for pid in pids[1:]:
            os.kill(pid, signal.SIGKILL)
        key.verify(key.sign(b'data'), b'data')
        told['works'] = True
        pidfd = os.pidfd_open(status.pid)
        stop_instance(client_instance(os.environ), trusted_uids())
        select.select([pidfd], [], [], 60)
except NCryptError as error:
    told['error'] = str(error)
print(json.dumps(told))
"""


@dataclass(frozen=True)
class User:
    """A user with a home of his own."""

    home: Path
    passwd: Path
    python: str

    @property
    def site(self) -> Path:
        return self.home / ".local" / SITE

    def run(self, **environ: str) -> Any:
        """What the program tells."""
        ended = subprocess.run(
            [
                *("unshare", "--mount", "sh", "-c"),
                'mount --bind "$0" /etc/passwd && exec "$@"',
                *(self.passwd, "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"),
                *(self.python, "-c", PROGRAM),
            ],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": str(self.home),
                "XDG_RUNTIME_DIR": str(self.home / "run"),
                "KEYISO_DEADLINE": "120",
                **environ,
            },
            cwd="/",
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)


@pytest.fixture
def user() -> Iterator[User]:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no other /etc/passwd can be shown to a process here (unshare --mount)")
    home = Path(tempfile.mkdtemp(prefix="kuser-", dir="/tmp"))
    try:
        found = User(home, home / "passwd", interpreter())
        found.site.mkdir(parents=True)
        copy_packages(found.site)
        for path in (home, *home.rglob("*")):
            os.lchown(path, UID, UID)
        (home / "run").mkdir(mode=0o700)
        os.chown(home / "run", UID, UID)
        entry = f"somebody:x:{UID}:{UID}::{home}:/bin/sh\n"
        found.passwd.write_text(Path("/etc/passwd").read_text() + entry)
        found.passwd.chmod(0o644)
        yield found
    except Unreadable as error:
        pytest.skip(str(error))
    finally:
        shutil.rmtree(home)


def test_the_services_start_out_of_the_users_own_packages(user: User) -> None:
    told = user.run()

    assert told.get("works"), told
    starter = str(user.site / "keyiso" / "_from_user_site.py")
    assert len(told["commands"]) >= 4
    assert all(command[1:3] == ["-I", starter] for command in told["commands"])


def test_nothing_else_of_the_users_python_gets_into_the_services(user: User) -> None:
    """What Python runs when it starts for this user is run by the application alone."""
    ran = user.home / "ran"
    ran.touch()
    os.chown(ran, UID, UID)
    marker = MARKER.format(file=str(ran))
    (user.site / "usercustomize.py").write_text(marker)
    (user.site / "some.pth").write_text(f"import sys; exec({marker!r})\n")
    other = user.home / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text(marker)

    told = user.run(PYTHONPATH=str(other), PYTHONUSERBASE=str(user.home / ".local"))

    assert told.get("works"), told
    lines = ran.read_text().splitlines()
    assert lines == [f"{user.python} -c"] * 3


def test_packages_that_everybody_may_write_start_nothing(user: User) -> None:
    user.site.chmod(0o777)

    told = user.run()

    assert "keyiso is installed for one user alone" in told["error"]
    assert "everybody may write" in told["error"]


def test_packages_of_somebody_else_start_nothing(user: User) -> None:
    os.chown(user.site / "keyiso", 1, 1)

    assert "belongs to uid 1" in user.run()["error"]
