"""An application that another service of keyiso serves, and asks for.

That service hands over the socket by which the application is connected to it. Whose that is, the
kernel says, and not the service; and it is so until the application hangs up.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.server.loop import Loop
from keyiso.server.peer import peer_of_accepted
from keyiso.status import Status


class Application:
    """Who is served, for as long as its socket is connected."""

    def __init__(self, loop: Loop, descriptor: int, place: Path, ended: Callable[[], None]) -> None:
        """``place`` is where it must have connected to, and ``ended`` is called when it has hung
        up. Raises ``NTE_INVALID_PARAMETER`` for a descriptor that is no such socket.
        """
        try:
            self._socket = socket.socket(fileno=descriptor)
        except OSError:
            os.close(descriptor)
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER, "what came is no socket of an application"
            ) from None
        try:
            self.peer = peer_of_accepted(self._socket, os.fspath(place))
        except NCryptError:
            self._socket.close()
            raise
        self._loop = loop
        loop.watch(self._socket, 0, lambda events: ended())

    def fileno(self) -> int:
        """A descriptor of its socket, for as long as this is open."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the socket."""
        self._loop.forget(self._socket)
        self._socket.close()
