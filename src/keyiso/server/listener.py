"""A listening socket of a service: accepts, identifies, admits."""

import socket

from keyiso.errors import NCryptError
from keyiso.quotas import Quotas
from keyiso.server.connection import Connection, Endpoint
from keyiso.server.identity import Identity
from keyiso.server.loop import READ, Loop
from keyiso.server.peer import peer_of
from keyiso.server.shares import Share, Shares

_ACCEPTED_AT_ONCE = 64
"""Connections taken before the loop looks at the others again."""

_PAUSE_SECONDS = 0.05
"""Until a service that could not accept a connection tries again."""


class Listener:
    """Accepts the connections of one endpoint and keeps them."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        endpoint: Endpoint,
        listening: socket.socket,
        quotas: Quotas,
    ) -> None:
        self.connections: set[Connection] = set()
        share = Share(quotas.limit("connections_per_user"), together=quotas.limit("connections"))
        self._shares = Shares(share, quotas)
        self._loop = loop
        self._identity = identity
        self._endpoint = endpoint
        self._socket = listening
        listening.setblocking(False)
        self._watch()

    def _ready(self, events: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # Out of descriptors or memory: the peer waits in the backlog, and this service
                # does not spend its time on asking for what there is not.
                self._loop.forget(self._socket)
                self._loop.call_later(_PAUSE_SECONDS, self._watch)
                return
            self._serve(accepted)

    def _watch(self) -> None:
        self._loop.watch(self._socket, READ, self._ready)

    def _serve(self, accepted: socket.socket) -> None:
        peer = peer_of(accepted)
        connection = Connection(
            self._loop,
            self._identity,
            self._endpoint,
            accepted,
            peer,
            self._shares,
            self._ended,
        )
        try:
            self._endpoint.admit(peer)
            self._shares.connections.take(peer.uid)
        except NCryptError as error:
            connection.refuse(error)
        else:
            self.connections.add(connection)

    def _ended(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
            self._shares.connections.give_back(connection.peer.uid)
