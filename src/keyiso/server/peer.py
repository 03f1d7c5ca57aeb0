"""Who is at the other end of a Unix socket, by the kernel's word (unix(7), SO_PEERCRED)."""

import errno
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyiso.errors import ncrypt_error
from keyiso.status import Status

_UCRED: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59
_GID_BYTES: Final = 4
_GROUPS_BYTES: Final = 65536 * _GID_BYTES
"""NGROUPS_MAX groups, the kernel's own limit."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The credentials of the process that connected, as they were when it connected."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]
    """The primary group and the supplementary ones."""


def peer_of(connection: socket.socket) -> Peer:
    """The peer of a connected Unix socket."""
    pid, uid, gid = _UCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return Peer(pid, uid, gid, _supplementary_groups(connection) | {gid})


def peer_of_accepted(connection: socket.socket, place: str) -> Peer:
    """Who has connected a socket that somebody else has accepted, and handed over.

    The end that has connected would name who listens, which is root mostly: its peer has a name, by
    which it was found, and the peer of an accepted end has none. An end of a socket pair would name
    who made that: it has no name of its own, and an accepted end has the listener's, ``place``.

    Raises ``NTE_INVALID_PARAMETER`` for what was not accepted there, and for a socket whose peer
    has closed it.
    """
    try:
        is_accepted = (
            connection.family == socket.AF_UNIX
            and connection.type == socket.SOCK_STREAM
            and connection.getsockname() == place
            and not connection.getpeername()
            and not has_hung_up(connection)
        )
    except OSError:  # it listens, or was never connected
        is_accepted = False
    if not is_accepted:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, "what came is no socket that an application has connected"
        )
    return peer_of(connection)


def has_hung_up(connection: socket.socket) -> bool:
    """The peer has closed its end."""
    waiting = select.poll()
    waiting.register(connection, 0)
    return bool(waiting.poll(0))


def start_of(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot (proc(5)); with its number it tells
    the process from every other one. None for one that has ended or cannot be seen.
    """
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *others = data.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else int(others[18])


def _supplementary_groups(connection: socket.socket) -> frozenset[int]:
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 256 * _GID_BYTES)
    except OSError as error:
        if error.errno != errno.ERANGE:
            return frozenset()  # a kernel before 4.13: the primary group has to do
        data = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    return frozenset(gid for (gid,) in struct.iter_unpack("I", data))
