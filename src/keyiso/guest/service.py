"""Outside: the clients in a machine, as one user of the KeyIso service.

Each connection to the machine is served by a process of its own, which runs as the user that
stands for the machine. KeyIso sees that user, whatever is said inside. The process that starts it
keeps its rights, to connect again, and reads nothing that comes out of the machine.
"""

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keyiso.client.binding import trusted_uids
from keyiso.client.connection import ConnectionLost, connect
from keyiso.clock import SystemClock
from keyiso.errors import NCryptError
from keyiso.guest.junction import Junction
from keyiso.guest.relay import connect_line
from keyiso.paths import Instance
from keyiso.server.loop import Loop
from keyiso.server.startup import (
    die_with_parent,
    harden_process,
    print_unexpected,
    stop_on_signals,
    usable_quotas,
)
from keyiso.supervisor.spawn import User
from keyiso.wire.multiplexer import Side

_RETRY_SECONDS: Final = 0.5
"""Until the machine, which may have no power just now, is connected to again."""

_CONNECT_SECONDS: Final = 1.0
"""What a full backlog of the KeyIso service may hold the machine's other streams up."""


def serve_guest(line: Path, user: User | None, instance: Callable[[], Instance]) -> None:
    """Serve a machine, for ever. ``user``: None for who runs this. ``instance`` is asked at each
    connect, as user ``user``.
    """
    said = ""
    while True:
        try:
            # No device is opened: root's rights are for a socket whose place others may choose.
            descriptor = connect_line(line)
        except OSError as error:
            why = error.strerror or "not reachable"
            if why != said:
                print(f"keyiso guest serve: {line}: {why}", file=sys.stderr, flush=True)
            said = why
        else:
            _serve_connection(descriptor, user, instance)
            said = ""
        time.sleep(_RETRY_SECONDS)


def _serve_connection(descriptor: int, user: User | None, instance: Callable[[], Instance]) -> None:
    """Returns when the connection has ended."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        os.waitpid(pid, 0)
        return
    try:
        if user is not None:
            os.setgroups([])
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
        harden_process()
        die_with_parent(parent)
        usable_quotas(())
        GuestConnection(descriptor, instance).run()
    except Exception as error:
        print_unexpected(error)
    finally:
        os._exit(0)


class GuestConnection:
    """One connection to a machine."""

    def __init__(self, descriptor: int, instance: Callable[[], Instance]) -> None:
        self._instance = instance
        self._trusted_uids = trusted_uids()
        self._loop = Loop(SystemClock())
        stop_on_signals(self._loop, self._loop.stop)
        Junction(
            self._loop,
            Side.OUTSIDE,
            descriptor,
            connect=self._connect,
            ready=lambda: self._say("the guest has answered"),
            ended=self._ended,
        )

    def run(self) -> None:
        """Until the connection ends."""
        self._loop.run()

    def _connect(self) -> socket.socket | None:
        """To the KeyIso service; a client whose stream ends at once tries again."""
        try:
            control_socket = self._instance().control_socket
            return connect(control_socket, self._trusted_uids, _CONNECT_SECONDS)
        except (ConnectionLost, NCryptError) as error:
            self._say(str(error))
            return None

    def _ended(self, why: str) -> None:
        self._say(why)
        self._loop.stop()

    def _say(self, what: str) -> None:
        print(f"keyiso guest serve: {what}", file=sys.stderr, flush=True)
