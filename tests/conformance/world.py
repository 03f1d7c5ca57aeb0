"""Several users of one machine: processes that run as somebody else, and what they can run.

Becoming other users needs root.
"""

import json
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.instance import RunningInstance

SECONDS = 120

KEYISO, TRUSTLET, PASSPORT = "games", "daemon", "news"
"""Stand in for the users keyiso, keyiso-trustlet and keyiso-passport; every Debian has them."""
ALICE, BOB, MALLORY = "nobody", "man", "mail"


def uid_of(user: str) -> int:
    return pwd.getpwnam(user).pw_uid


# --- running things as somebody else -----------------------------------------------------------

PRELUDE = """
import contextlib, json, os, sys
import raw_client
from keyiso import ExportPolicy, Key, KeyUsage, NCryptError, Provider, ncrypt
from keyiso.paths import client_instance
from keyiso.status import status_name

def outcome(work):
    "What the work returns, or the name of the status that it raises."
    try:
        return work()
    except NCryptError as error:
        return status_name(error.status)

def control():
    return client_instance(os.environ).control_socket

def tell(value):
    print(json.dumps(value), flush=True)

def wait():
    sys.stdin.readline()
"""


@dataclass(frozen=True)
class World:
    """A Python for everybody, and the environment in which its processes find an instance."""

    python: Path
    home: Path

    def environ(self, home: Path | None = None) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "KEYISO_HOME": str(home or self.home),
            "KEYISO_DEADLINE": "120",
        }

    def start(
        self,
        user: str,
        code: str,
        *,
        home: Path | None = None,
        groups: tuple[int, ...] = (),
        pass_fds: tuple[int, ...] = (),
    ) -> "Process":
        """A process of a user that runs some code after the prelude, and talks in JSON lines."""
        entry = pwd.getpwnam(user)
        return Process(
            subprocess.Popen(
                [self.python, "-I", "-c", PRELUDE + code],
                env=self.environ(home),
                cwd="/",
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=list(groups),
                pass_fds=pass_fds,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def run(self, user: str, code: str, **options: Any) -> Any:
        """What the code tells."""
        with self.start(user, code, **options) as process:
            return process.told()


class Process:
    """A child that is another user."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def told(self) -> Any:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        assert line, f"the child ended with {self._child.wait(SECONDS)}"
        return json.loads(line)

    def go_on(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._child.stdin is not None and self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait(SECONDS)
        self._child.stdout.close()


class SystemInstance(RunningInstance):
    """A system instance in a KEYISO_HOME, whose services run as different users."""

    def __init__(self, home: Path, python: Path, options: tuple[str, ...] = ()) -> None:
        super().__init__(home, options)
        self._python = python

    def start(self) -> None:
        subprocess.run(
            [
                *(self._python, "-I", "-m", "keyiso.supervisor", "--detach", "--system"),
                *("--keyiso-user", KEYISO, "--trustlet-user", TRUSTLET),
                *("--passport-user", PASSPORT),
                *self._options,
            ],
            env=self.environ,
            check=True,
            timeout=SECONDS,
        )
