"""A listening socket of a service: accepts, identifies, admits."""

import socket

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.server.connection import Connection, Endpoint
from keyiso.server.identity import Identity
from keyiso.server.loop import READ, Loop
from keyiso.server.peer import Peer, peer_of
from keyiso.status import Status

_ACCEPTED_AT_ONCE = 64
"""Connections taken before the loop looks at the others again."""


class Listener:
    """Accepts the connections of one endpoint and keeps them."""

    def __init__(
        self, loop: Loop, identity: Identity, endpoint: Endpoint, listening: socket.socket
    ) -> None:
        self.connections: set[Connection] = set()
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
            self._loop, self._identity, self._endpoint, accepted, peer, self.connections.discard
        )
        try:
            self._admit(peer)
        except NCryptError as error:
            connection.refuse(error)
        else:
            self.connections.add(connection)

    def _admit(self, peer: Peer) -> None:
        if len(self.connections) >= limits.CONNECTIONS:
            raise ncrypt_error(
                Status.KEYISO_E_LIMIT,
                f"{self._identity.service} has CONNECTIONS ({limits.CONNECTIONS}) clients",
                "Try again when some have gone.",
            )
        self._endpoint.admit(peer)
