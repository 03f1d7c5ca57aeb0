"""Where an instance of keyiso keeps its state, its sockets and its configuration.

``KEYISO_HOME`` names an instance of its own. Without it, a client uses the system instance where
there is one and the user's own instance otherwise. Sockets always lie in a short runtime
directory, because the address of a Unix socket has 108 bytes and a home may be longer.
"""

import ctypes
import hashlib
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyiso.errors import ncrypt_error
from keyiso.status import Status

SOCKET_ADDRESS_BYTES: Final = 107
"""sockaddr_un.sun_path without its NUL (unix(7))."""

JOURNAL_SOCKET: Final = Path("/run/systemd/journal/socket")
"""Where systemd-journald takes records."""

_LONGEST_SOCKET_NAME: Final = len("/workers/software-generator.sock")
_DIGITS: Final = 12
"""Hexadecimal digits that tell the homes of one user apart."""
_AT_SECURE: Final = 23
_SYSTEM_STATE: Final = Path("/var/lib/keyiso")
_SYSTEM_RUNTIME: Final = Path("/run/keyiso")
_SYSTEM_CONFIG: Final = Path("/etc/keyiso")


@dataclass(frozen=True, slots=True)
class Instance:
    """One running, or startable, keyiso: its directories and whom it serves."""

    system: bool
    """Serves every user. Otherwise only the user who started it."""
    state: Path
    """Persistent: the store, the machine root, the event log."""
    runtime: Path
    """Gone at a reboot: sockets, the lock, the boot root."""
    config: tuple[Path, ...]
    """Directories with ``providers.d``; an earlier one wins."""

    @property
    def control_socket(self) -> Path:
        return self.runtime / "control.sock"

    @property
    def passport_socket(self) -> Path:
        return self.runtime / "passport.sock"

    @property
    def container_socket(self) -> Path:
        """Of the Passport container service, for the Passport service alone."""
        return self.runtime / "passport-container.sock"

    @property
    def served_socket(self) -> Path:
        """Of the KeyIso service, for the Passport container service alone."""
        return self.runtime / "keyiso-passport.sock"

    @property
    def supervisor_socket(self) -> Path:
        return self.runtime / "supervisor.sock"

    @property
    def notify_socket(self) -> Path:
        """Where the services' heartbeats go (sd_notify(3))."""
        return self.runtime / "notify.sock"

    @property
    def workers(self) -> Path:
        """The directory of the workers' sockets, which only the KeyIso service may enter."""
        return self.runtime / "workers"

    @property
    def lock(self) -> Path:
        """Held by the supervisor: there is one per state directory, whoever started it."""
        return self.state / "supervisor.lock"

    @property
    def start_lock(self) -> Path:
        """Held by the one client that starts the instance."""
        return self.state / "start.lock"

    @property
    def outside(self) -> Path:
        """Is there when the keys are outside of this machine: then nobody starts services in it."""
        return self.state / "outside"

    @property
    def served_with(self) -> Path:
        """The options of the last supervisor."""
        return self.state / "supervisor.options"

    @property
    def log(self) -> Path:
        """What the processes of an instance print that was started by a client."""
        return self.state / "supervisor.log"

    @property
    def store(self) -> Path:
        return self.state / "store" / "keys.sqlite3"

    @property
    def events(self) -> Path:
        return self.state / "events"

    @property
    def ephemerals(self) -> Path:
        """The directory of what is known of this boot's ephemeral keys."""
        return self.runtime / "keyiso"

    @property
    def software_machine_root(self) -> Path:
        return self.state / "software-trustlet" / "machine-root"

    @property
    def containers(self) -> Path:
        """The directory of the Passport containers, one for each user who has one."""
        return self.software_machine_root.parent / "containers"

    @property
    def vbs_trustlet(self) -> Path:
        """The directory of what ``vbs`` trustlets keep. Nothing in it is secret."""
        return self.state / "vbs-trustlet"

    @property
    def vbs_enrolment(self) -> Path:
        """Which TPM keeps the machine roots of ``vbs`` keys, and the roots as it sealed them."""
        return self.vbs_trustlet / "enrolment"

    @property
    def vbs_runtime(self) -> Path:
        """The directory where armed workers meet, which only their user may enter."""
        return self.runtime / "vbs-trustlet"

    @property
    def vbs_boot_root(self) -> Path:
        """The boot root of ``vbs``, as the TPM has sealed it. Nothing in it is secret."""
        return self.runtime / "vbs-boot-root"

    def sharing_socket(self, service: str) -> Path:
        """Where a pair gives its roots to another one."""
        return self.vbs_runtime / f"{service}.sock"

    @property
    def software_boot_roots(self) -> Path:
        """The directory of the boot's root."""
        return self.runtime / "software-trustlet"


def client_instance(environ: Mapping[str, str]) -> Instance:
    """The instance that a client with this environment uses.

    ``KEYISO_HOME`` is ignored in a process that runs with more rights than its caller
    (AT_SECURE, getauxval(3)), because the caller chose it.
    """
    home = home_directory(environ)
    if home is not None:
        return _home_instance(home, _linked_runtime(home) or _home_runtime(home, environ, False))
    if (_SYSTEM_RUNTIME / "control.sock").exists():
        return _system_instance()
    return _user_instance(environ)


def server_instance(environ: Mapping[str, str], *, system: bool) -> Instance:
    """The instance that ``keyiso serve`` is to be."""
    home = home_directory(environ)
    if home is not None:
        return _home_instance(home, _home_runtime(home, environ, system), system=system)
    return _system_instance() if system else _user_instance(environ)


def make_private_directory(path: Path, *, mode: int = 0o700, owner: int | None = None) -> None:
    """Make a directory of our own, or check that the one that exists is ours.

    ``owner`` is a uid that the directory was given to earlier, besides our own and root.

    Raises ``KEYISO_E_PEER_REFUSED`` when the path is a link, is not a directory or belongs to
    another user: in a world-writable directory such as /tmp somebody else may have made it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), 0, owner):
            raise ncrypt_error(
                Status.KEYISO_E_PEER_REFUSED,
                f"{path} is not a directory of uid {os.geteuid()}",
                "Remove it, or set KEYISO_HOME or XDG_RUNTIME_DIR to a place of your own.",
            ) from None
    if stat.S_IMODE(path.lstat().st_mode) != mode:  # a disk may be read-only, and right
        path.chmod(mode)


def runtime_link(home: Path) -> Path:
    """The link in a ``KEYISO_HOME`` that leads to its runtime directory."""
    return home / "runtime"


def home_directory(environ: Mapping[str, str]) -> Path | None:
    """The absolute ``KEYISO_HOME``, if there is one that may be used."""
    home = environ.get("KEYISO_HOME")
    if not home or runs_with_more_rights():
        return None
    return Path(os.path.abspath(home))


def runs_with_more_rights() -> bool:
    """AT_SECURE (getauxval(3)): the environment is somebody else's, with fewer rights."""
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    return bool(libc.getauxval(ctypes.c_ulong(_AT_SECURE)))


def _home_instance(home: Path, runtime: Path, *, system: bool = False) -> Instance:
    return Instance(system, home / "state", runtime, (home / "config",))


def _linked_runtime(home: Path) -> Path | None:
    """What the server of this home chose; a client of another uid would compute another place."""
    try:
        return Path(os.readlink(runtime_link(home)))
    except OSError:
        return None  # there is none, it is no link, or the home is out of reach


def _home_runtime(home: Path, environ: Mapping[str, str], system: bool) -> Path:
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:_DIGITS]
    return Path(f"/run/keyiso-{digest}") if system else _user_runtime(environ, "-" + digest)


def _system_instance() -> Instance:
    return Instance(True, _SYSTEM_STATE, _SYSTEM_RUNTIME, (_SYSTEM_CONFIG,))


def _user_instance(environ: Mapping[str, str]) -> Instance:
    user_home = Path(environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir)
    data = Path(environ.get("XDG_DATA_HOME") or user_home / ".local" / "share")
    config = Path(environ.get("XDG_CONFIG_HOME") or user_home / ".config")
    return Instance(
        False,
        data / "keyiso",
        _user_runtime(environ),
        (config / "keyiso", _SYSTEM_CONFIG),
    )


def _user_runtime(environ: Mapping[str, str], suffix: str = "") -> Path:
    """A runtime directory of this user that is short enough for socket addresses."""
    for base in (environ.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}"):
        if base and _usable_base(base):
            return Path(base, "keyiso" + suffix)
    # No /run/user: a directory in /tmp, which is checked to be ours before it is used.
    return Path(f"/tmp/keyiso-{os.getuid()}{suffix}")  # noqa: S108 (checked, as said above)


def _usable_base(base: str) -> bool:
    room = SOCKET_ADDRESS_BYTES - len("/keyiso-") - _DIGITS - _LONGEST_SOCKET_NAME
    return (
        os.path.isabs(base)
        and len(os.fsencode(base)) <= room
        and os.access(base, os.W_OK | os.X_OK)
    )
