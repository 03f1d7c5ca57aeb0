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


def start_heartbeat(loop: Loop, environ: Mapping[str, str]) -> None:
    """Say that the service is ready, and beat if the supervisor listens for it."""
    path = environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def tell(what: bytes) -> None:
        with contextlib.suppress(OSError):  # no supervisor, or a busy one: the next beat will do
            notify.sendto(what, address)

    tell(b"READY=1")
    watchdog = environ.get("WATCHDOG_USEC")
    if not watchdog or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        notify.close()
        return
    pause = int(watchdog) / 1e6 / BEATS_PER_TIMEOUT

    def beat() -> None:
        tell(b"WATCHDOG=1")
        loop.call_later(pause, beat)

    beat()
