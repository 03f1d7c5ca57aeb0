"""Starting a child: its sockets as systemd would pass them, its user, its fixed environment."""

import fcntl
import os
import pwd
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyiso.interpreter import module_command
from keyiso.server.startup import FIRST_DESCRIPTOR, die_with_parent
from keyiso.supervisor.capability import (
    CAP_IPC_LOCK,
    keep_only,
    keep_rights_over_setuid,
    may_lock_memory,
)
from keyiso.supervisor.watchdog import TIMEOUT_SECONDS
from keyiso.tpm.transport import DEVICE

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
    on_demand: bool = False
    """Started when somebody first connects to its first socket."""
    is_pair: bool = False
    """A guardian with its worker: it needs locked memory, and roots from its siblings."""
    uses_tpm: bool = False
    """It may open the TPM."""


def spawn(spec: ServiceSpec, *more: str) -> int:
    """Start a service, with more arguments for this once, and return its pid. It dies with this
    process.
    """
    supervisor = os.getpid()
    command = module_command(spec.module, *spec.arguments, *more)
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
    locks_by_right = spec.is_pair and not _allow_locked_memory() and may_lock_memory()
    if spec.user is not None:
        if locks_by_right:
            keep_rights_over_setuid()
        os.setgroups(_tpm_groups() if spec.uses_tpm else [])
        os.setresgid(spec.user.gid, spec.user.gid, spec.user.gid)
        os.setresuid(spec.user.uid, spec.user.uid, spec.user.uid)
        if locks_by_right:
            keep_only(CAP_IPC_LOCK)
    die_with_parent(supervisor)
    os.chdir("/")
    os.execve(command[0], command, _environment(spec))  # noqa: S606 (fixed words)


def _tpm_groups() -> list[int]:
    """The group that may open the TPM, often ``tss``; none where there is no TPM."""
    try:
        group = os.stat(DEVICE).st_gid
    except OSError:
        return []
    return [group] if group else []


def _allow_locked_memory() -> bool:
    """Secret memory counts as locked. Whether the limit could be lifted; where it could not, the
    guardian says how much is missing.
    """
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    except (ValueError, PermissionError):
        return False
    return True


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
