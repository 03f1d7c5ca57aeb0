"""In the machine: a control socket whose KeyIso service is outside.

It holds no key and knows no secret, and does not look at what passes. Clients need not know of it:
they find their control socket and get their descriptors, and when the line ends they see that, as
they would see the end of the service, and connect again.
"""

import os
import socket
import stat
import sys
import tty
from pathlib import Path
from typing import Final

from keyiso.guest.junction import Junction
from keyiso.server.loop import READ, Loop
from keyiso.wire.multiplexer import Side

_RETRY_SECONDS: Final = 0.5
"""Until the line is opened again; a device tells only so whether somebody is at its other end."""

_PAUSE_SECONDS: Final = 0.05
"""Until more clients are taken, when there was no room."""


class Relay:
    """Serves the clients that connect to a listening socket, over a device or a Unix socket.

    While nobody answers on the line, clients wait in the socket's backlog.
    """

    def __init__(self, loop: Loop, listening: socket.socket, device: Path) -> None:
        self._loop = loop
        self._listening = listening
        self._device = device
        self._junction: Junction | None = None
        self._accepting = False
        self._said = ""
        listening.setblocking(False)
        self._begin()

    def _begin(self) -> None:
        try:
            descriptor = _open_line(self._device)
        except OSError as error:
            self._ended(error.strerror or "cannot be opened")
            return
        self._junction = Junction(
            self._loop,
            Side.INSIDE,
            descriptor,
            connect=lambda: None,  # outside there are no clients
            ready=self._ready,
            ended=self._ended,
        )

    def _ready(self) -> None:
        self._say("connected")
        self._accept_some()

    def _ended(self, why: str) -> None:
        self._junction = None
        self._listen(False)
        self._say(why)
        self._loop.call_later(_RETRY_SECONDS, self._begin)

    def _accept_some(self, events: int = READ) -> None:
        """Take clients as long as there is room, and look again later where there is none."""
        while self._junction is not None:
            if not self._junction.has_room:
                self._listen(False)
                self._loop.call_later(_PAUSE_SECONDS, self._accept_some)
                return
            try:
                accepted, _ = self._listening.accept()
            except OSError:  # nobody is waiting, or there is no descriptor left
                self._listen(True)
                return
            self._junction.add(accepted)

    def _listen(self, on: bool) -> None:
        if on and not self._accepting:
            self._loop.watch(self._listening, READ, self._accept_some)
        elif self._accepting and not on:
            self._loop.forget(self._listening)
        self._accepting = on

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            print(f"keyiso guest relay: {self._device}: {what}", file=sys.stderr, flush=True)


def connect_line(path: Path) -> int:
    """The descriptor of a connection to a Unix socket. Raises ``OSError``."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        raise
    return connection.detach()


def _open_line(path: Path) -> int:
    """The descriptor of a device, or of a connection to a Unix socket. Raises ``OSError``."""
    if stat.S_ISSOCK(path.stat().st_mode):
        return connect_line(path)
    descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    if os.isatty(descriptor):
        tty.setraw(descriptor)
    return descriptor
