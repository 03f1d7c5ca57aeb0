"""A listening socket of a service: accepts, identifies, admits."""

import socket

from keyiso.errors import NCryptError
from keyiso.server.connection import Connection, Endpoint
from keyiso.server.identity import Identity
from keyiso.server.loop import READ, Loop
from keyiso.server.peer import peer_of
from keyiso.server.shares import Shares

_ACCEPTED_AT_ONCE = 64
"""Connections taken before the loop looks at the others again."""


class Listener:
    """Accepts the connections of one endpoint and keeps them."""

    def __init__(
        self, loop: Loop, identity: Identity, endpoint: Endpoint, listening: socket.socket
    ) -> None:
        self.connections: set[Connection] = set()
        self._shares = Shares()
        self._loop = loop
        self._identity = identity
        self._endpoint = endpoint
        self._socket = listening
        listening.setblocking(False)
        loop.watch(listening, READ, self._ready)

    def _ready(self, events: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                return  # out of descriptors: the peer waits in the backlog
            self._serve(accepted)

    def _serve(self, accepted: socket.socket) -> None:
        peer = peer_of(accepted)
        connection = Connection(
            self._loop,
            self._identity,
            self._endpoint,
            accepted,
            peer,
            self._ended,
            self._shares.hold,
        )
        try:
            self._endpoint.admit(peer)
            self._shares.admit(peer.uid)
        except NCryptError as error:
            connection.refuse(error)
        else:
            self.connections.add(connection)

    def _ended(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
            self._shares.leave(connection.peer.uid)
