"""Starting a child: its sockets as systemd would pass them, its user, its fixed environment."""

import fcntl
import os
import pwd
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyiso.interpreter import module_command
from keyiso.server.startup import FIRST_DESCRIPTOR, die_with_parent
from keyiso.supervisor.watchdog import TIMEOUT_SECONDS

_HIGH_DESCRIPTOR: Final = 100


@dataclass(frozen=True, slots=True)
class User:
    """Whom a service runs as."""

    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "User":
        """A user of this machine. Raises ``KeyError`` with the name when there is none."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise KeyError(name) from None
        return cls(entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What the supervisor runs: a module of this package, in a process of its own."""

    service: str
    module: str
    arguments: tuple[str, ...]
    sockets: Mapping[str, int]
    """Listening sockets by name, as descriptors of the supervisor."""
    user: User | None
    """None: whoever the supervisor is."""
    notify: Path
    """Where the service's heartbeats go."""


def spawn(spec: ServiceSpec) -> int:
    """Start a service and return its pid. It dies with this process."""
    supervisor = os.getpid()
    command = module_command(spec.module, *spec.arguments)
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(spec, supervisor, command)
    finally:
        os._exit(127)


def _become(spec: ServiceSpec, supervisor: int, command: list[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    _place(list(spec.sockets.values()))
    if spec.user is not None:
        os.setgroups([])
        os.setresgid(spec.user.gid, spec.user.gid, spec.user.gid)
        os.setresuid(spec.user.uid, spec.user.uid, spec.user.uid)
    die_with_parent(supervisor)
    os.chdir("/")
    os.execve(command[0], command, _environment(spec))  # noqa: S606 (fixed words)


def _place(descriptors: list[int]) -> None:
    """Put the sockets where LISTEN_FDS says, over high numbers so that none is overwritten."""
    high = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _HIGH_DESCRIPTOR) for number in descriptors]
    for target, number in enumerate(high, FIRST_DESCRIPTOR):
        os.dup2(number, target, inheritable=True)


def _environment(spec: ServiceSpec) -> dict[str, str]:
    """Nothing of the supervisor's own environment but what is named here."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDS": str(len(spec.sockets)),
        "LISTEN_FDNAMES": ":".join(spec.sockets),
        "NOTIFY_SOCKET": str(spec.notify),
        "WATCHDOG_USEC": str(int(TIMEOUT_SECONDS * 1e6)),
    }
