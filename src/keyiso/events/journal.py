"""The system's journal, by its native protocol (systemd's "Native Journal Protocol").

A record is a datagram of fields: ``NAME=value`` and a line feed, or, for a value with a line feed
of its own, the name, a line feed, the value's length (u64, little-endian), the value, a line feed.
One that is too long for a datagram goes as a sealed memfd.
"""

import array
import errno
import fcntl
import os
import re
import socket
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from keyiso.events.records import Event, Level

IDENTIFIER: Final = "keyiso"

_PRIORITIES: Final = {Level.ERROR: 3, Level.INFORMATION: 6, Level.VERBOSE: 7}
"""syslog(3): LOG_ERR, LOG_INFO, LOG_DEBUG."""

_MESSAGE_IDS: Final = uuid.UUID("6f1f3b2e-6a54-4d0f-9c2a-3f0f9d6b7c11")
"""The name space in which each event id has its MESSAGE_ID."""

_LENGTH: Final = struct.Struct("<Q")
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def message_id(event_id: int) -> str:
    """What ``journalctl MESSAGE_ID=`` finds all events of this id by: 32 hexadecimal digits."""
    return uuid.uuid5(_MESSAGE_IDS, str(event_id)).hex


class Journal:
    """Sends events to the journal's socket, and never waits for it.

    Where there is no such socket there is no journal. ``lost`` counts what a journal that is
    there did not take.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.lost = 0

    def send(self, event: Event) -> None:
        """Send an event, now or never."""
        if self._path is None:
            return
        try:
            _send(_entry(event), os.fspath(self._path))
        except FileNotFoundError:
            pass  # no journal
        except OSError:
            self.lost += 1


def _send(entry: bytes, address: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto(entry, address)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            memory = _sealed(entry)
            try:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))
                sender.sendmsg([b""], [rights], 0, address)
            finally:
                os.close(memory)


def _sealed(entry: bytes) -> int:
    """A memfd that the journal can read without fear that it changes."""
    memory = os.memfd_create("keyiso-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(memory, "wb", closefd=False) as file:
            file.write(entry)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(memory)
        raise
    return memory


def _entry(event: Event) -> bytes:
    return b"".join(_field(name, str(value)) for name, value in _fields(event))


def _fields(event: Event) -> Iterator[tuple[str, str | int]]:
    kind = event.kind
    yield "MESSAGE", kind.meaning
    yield "PRIORITY", _PRIORITIES[kind.level]
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "MESSAGE_ID", message_id(kind.event_id)
    yield "KEYISO_PROVIDER", kind.provider
    yield "KEYISO_EVENT_ID", kind.event_id
    yield "KEYISO_CHANNEL", kind.channel.value
    yield "KEYISO_LEVEL", kind.level.name.lower()
    yield "KEYISO_TASK", kind.task
    yield "KEYISO_KEYWORDS", kind.keywords
    yield "KEYISO_UID", event.uid
    if event.pid:
        yield "KEYISO_PID", event.pid
    if event.trace:
        yield "KEYISO_TRACE", event.trace
    for hop in event.chain:
        yield "KEYISO_CHAIN", str(hop)
    for name, value in (*event.more.items(), *event.values.items()):
        yield "KEYISO_" + _WORD_START.sub("_", name).upper(), value


_WORD_START: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return name.encode("ascii") + b"=" + data + b"\n"
    return name.encode("ascii") + b"\n" + _LENGTH.pack(len(data)) + data + b"\n"
