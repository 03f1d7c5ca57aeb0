"""A client in the worker's own process: asks a worker for everything once, in the worker's loop.

It does little of what a real client does: it trusts its peer, and one failure ends it.
"""

import socket
from typing import Any

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.server.loop import READ, Loop
from keyiso.server.promise import Promise
from keyiso.wire.messages import Call, Failure, Operation, R_co, Return, Welcome, result_of
from keyiso.wire.session import Role, Session, client_decoder


class RehearsalClient:
    """One connection to a worker: its link, or a key channel."""

    def __init__(self, loop: Loop, connected: socket.socket, frame_bytes: int) -> None:
        self._loop = loop
        self._socket = connected
        self._session = Session(Role.CLIENT, client_decoder(), frame_bytes=frame_bytes)
        self._waiting: dict[int, tuple[Operation[Any], Promise[Any]]] = {}
        self._greeted: Promise[None] = Promise()
        self._calls = 0
        loop.watch(connected, READ, self._ready)

    def greet(self) -> Promise[None]:
        """Say hello; kept when the worker has said welcome."""
        self._socket.sendall(self._session.hello("rehearsal"))
        return self._greeted

    def call(self, operation: Operation[R_co], *descriptors: int) -> Promise[R_co]:
        """Ask; descriptors go with the request."""
        self._calls += 1
        promise: Promise[R_co] = Promise()
        self._waiting[self._calls] = (operation, promise)
        frame = self._session.send(Call(self._calls, operation))
        socket.send_fds(self._socket, [frame], list(descriptors))
        return promise

    def close(self) -> None:
        self._loop.forget(self._socket)
        self._socket.close()

    def _ready(self, events: int) -> None:
        for message in self._session.receive(self._socket.recv(limits.READ_BYTES)):
            if isinstance(message, Welcome):
                self._greeted.keep(None)
            elif isinstance(message, Return):
                operation, promise = self._waiting.pop(message.call_id)
                promise.keep(result_of(operation, message))
            elif isinstance(message, Failure):
                _, promise = self._waiting.pop(message.call_id)
                promise.break_with(ncrypt_error(message.status, message.cause, message.action))
