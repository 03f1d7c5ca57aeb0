"""Telling the supervisor that the loop goes round (sd_notify(3), sd_watchdog_enabled(3)).

A service that hangs sends nothing, and is killed and replaced. A long operation is not a hang:
what takes long runs beside the loop.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from keyiso.server.loop import Loop

BEATS_PER_TIMEOUT: Final = 4
"""Heartbeats within the time after which a service counts as hung."""


class Heartbeat:
    """Open from the beginning, for a service that can open nothing later; beats when it serves."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._pause = _pause(environ)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def start(self, loop: Loop, status: str = "") -> None:
        """Say that the service is ready, and beat if the supervisor listens for it."""
        self._tell(b"READY=1" + (b"\nSTATUS=" + status.encode() if status else b""))
        if self._pause:
            self._beat(loop)

    def tell(self, line: str) -> None:
        """Say something more than that."""
        self._tell(line.encode())

    def extend(self, seconds: int) -> None:
        """Say that it lives and is not ready yet, and when to expect it at the latest."""
        self._tell(b"EXTEND_TIMEOUT_USEC=%d" % (seconds * 1_000_000))

    def _beat(self, loop: Loop) -> None:
        self._tell(b"WATCHDOG=1")
        loop.call_later(self._pause, lambda: self._beat(loop))

    def _tell(self, what: bytes) -> None:
        if self._address:
            with contextlib.suppress(OSError):  # no supervisor, or a busy one
                self._socket.sendto(what, self._address)


def start_heartbeat(loop: Loop, environ: Mapping[str, str]) -> None:
    """The heartbeat of a service that serves from now on."""
    Heartbeat(environ).start(loop)


def _pause(environ: Mapping[str, str]) -> float:
    """Seconds between two beats; 0 where nobody listens for them."""
    watchdog = environ.get("WATCHDOG_USEC")
    if not watchdog or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    return int(watchdog) / 1e6 / BEATS_PER_TIMEOUT
