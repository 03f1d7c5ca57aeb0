"""The directories and sockets of an instance, and who may enter them."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.paths import Instance, home_directory, make_private_directory, runtime_link
from keyiso.status import Status
from keyiso.supervisor.spawn import User


def take_lock(path: Path) -> int | None:
    """The descriptor of a lock that is now ours, or None when another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def make_state(instance: Instance) -> None:
    """The state directory itself; in a system instance others may pass through it."""
    make_private_directory(instance.state, mode=0o755 if instance.system else 0o700)


def make_directories(instance: Instance, keyiso: User | None, trustlet: User | None) -> None:
    """All directories, each with the one owner that needs it."""
    make_private_directory(instance.runtime, mode=0o755 if instance.system else 0o700)
    for path, user in (
        (instance.store.parent, keyiso),
        (instance.events, keyiso),
        (instance.workers, keyiso),
        (instance.ephemerals, keyiso),
        (instance.software_machine_root.parent, trustlet),
        (instance.software_boot_roots, trustlet),
        (instance.vbs_trustlet, trustlet),
        (instance.vbs_runtime, trustlet),
    ):
        make_private_directory(path, owner=None if user is None else user.uid)
        if user is not None and (path.stat().st_uid, path.stat().st_gid) != (user.uid, user.gid):
            os.chown(path, user.uid, user.gid)


def link_runtime(instance: Instance, environ: dict[str, str]) -> None:
    """Tell clients of a KEYISO_HOME where its sockets are."""
    home = home_directory(environ)
    if home is None:
        return
    link = runtime_link(home)
    if link.is_symlink() and Path(os.readlink(link)) == instance.runtime:
        return
    temporary = home / f".runtime-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(instance.runtime)
    temporary.replace(link)


def keep_file(path: Path, hexadecimal: bytes) -> None:
    """Put what a service wants to be kept into a file that everybody of the instance may read.
    Nothing in it is secret.
    """
    with contextlib.suppress(ValueError, OSError):  # what is no number, and a full disk
        data = bytes.fromhex(hexadecimal.decode("ascii"))
        temporary = path.with_name(f".{path.name}-{os.getpid()}")
        temporary.write_bytes(data)
        temporary.chmod(0o644)
        temporary.replace(path)


def listen_at(path: Path, *, mode: int, user: User | None = None) -> socket.socket:
    """A listening socket at a path, open to whom the mode says. An old one is replaced."""
    return _bound_at(path, socket.SOCK_STREAM, mode, user)


def receive_at(path: Path, *, mode: int) -> socket.socket:
    """A datagram socket at a path."""
    return _bound_at(path, socket.SOCK_DGRAM, mode, None)


def _bound_at(path: Path, kind: socket.SocketKind, mode: int, user: User | None) -> socket.socket:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, kind)
    try:
        # Closed to everybody until it listens, and owner and mode are right.
        mask = os.umask(0o777)
        try:
            bound.bind(os.fspath(path))
        finally:
            os.umask(mask)
        if kind == socket.SOCK_STREAM:
            bound.listen(limits.BACKLOG)
        if user is not None:
            os.chown(path, user.uid, user.gid)
        path.chmod(mode)
    except OSError as error:
        bound.close()
        raise ncrypt_error(
            Status.KEYISO_E_SERVICE_UNAVAILABLE,
            f"cannot listen at {path}: {error.strerror}",
            "Check the directory's owner, or set KEYISO_HOME or XDG_RUNTIME_DIR.",
        ) from None
    return bound
