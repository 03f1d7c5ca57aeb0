"""Hearing the heartbeats of the services (sd_notify(3))."""

import array
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keyiso.server.loop import READ, Loop

TIMEOUT_SECONDS: Final = 10.0
"""A service whose loop does not go round for so long is replaced."""

_UCRED: Final = struct.Struct("3i")
_MESSAGE_BYTES: Final = 4096
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_UCRED.size) + socket.CMSG_SPACE(16 * 4)

_EXTENSION: Final = b"EXTEND_TIMEOUT_USEC"
_NUMBER_DIGITS: Final = 12

Sign = Callable[[int, frozenset[bytes]], None]
"""Called with the sender's pid, by the kernel's word, and the lines that it sent."""


class Watchdog:
    """Receives the datagrams of services."""

    def __init__(self, loop: Loop, receiving: socket.socket, beat: Sign) -> None:
        self._socket = receiving
        self._beat = beat
        receiving.setblocking(False)
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        loop.watch(receiving, READ, self._ready)

    def _ready(self, events: int) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                _MESSAGE_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except OSError:
            return
        pid = 0
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid, _, _ = _UCRED.unpack(payload[: _UCRED.size])
            elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                _close_all(payload)  # nobody is asked to send any
        if pid:
            self._beat(pid, frozenset(data.split(b"\n")))


def extension_of(lines: frozenset[bytes]) -> float:
    """Seconds that a service which starts asks for; 0 when it asks for none."""
    for line in lines:
        name, _, number = line.partition(b"=")
        if name == _EXTENSION and len(number) <= _NUMBER_DIGITS and number.isdigit():
            return int(number) / 1e6
    return 0.0


def parent_of(pid: int) -> int:
    """Its parent's pid (proc(5)); 0 for a process that has ended."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return 0
    return int(data.rpartition(b")")[2].split()[1])


def _close_all(payload: bytes) -> None:
    descriptors = array.array("i")
    descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    for descriptor in descriptors:
        os.close(descriptor)
