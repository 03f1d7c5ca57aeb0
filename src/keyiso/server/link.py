"""A service as the client of another one: calls that are awaited, over a connection that is
made again whenever it ends.

Calls that were under way when the connection ended fail with ``KEYISO_E_STALE``. They are not
repeated here: the application's client is the one place that repeats (architecture, section 6).
"""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from keyiso import limits
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.server.spans import Telling
from keyiso.server.stream import Stream
from keyiso.status import Status
from keyiso.wire.messages import (
    Call,
    Failure,
    Message,
    Operation,
    R_co,
    Refusal,
    Return,
    Welcome,
    result_of,
)
from keyiso.wire.session import RemoteProtocolError, Role, Session, client_decoder

_RETRY_SECONDS: Final = 0.05
"""For a socket that cannot be connected to, or whose service does not answer."""

_REFUSED_SECONDS: Final = 1.0
"""For a service that has said that it does not serve this one: it has too many clients, mostly."""

_RECONNECT_SECONDS: Final = 0.002
"""The next connection waits in the backlog of the same listening socket for the new process;
the pause keeps a service that ends at once from keeping this one busy."""


class _Asked(NamedTuple):
    """A call that is under way."""

    operation: Operation[Any]
    promise: Promise[Any]
    telling: Telling | None
    hops: tuple[Hop, ...]


def _nothing(link: "Link") -> None:
    """Nobody needs to know."""


class Link:
    """A connection to the service that listens at a path; or one that somebody has made, which is
    not made again.
    """

    def __init__(
        self,
        loop: Loop,
        service: str,
        place: Path | socket.socket,
        *,
        peer_service: str,
        frame_bytes: int,
        connected: Callable[["Link"], None] = _nothing,
        passes_descriptors: bool = False,
        advice: str = "",
    ) -> None:
        """``advice``: what to do where the service is not there."""
        self.peer_service = peer_service
        """What listens there, for the chain of an error."""
        self.peer_instance: bytes | None = None
        """The instance that answered; None while there is no connection."""
        self.peer_features: tuple[str, ...] = ()
        """What the peer can be asked besides what every version can."""
        self._loop = loop
        self._service = service
        self._path = place if isinstance(place, Path) else None
        self._frame_bytes = frame_bytes
        self._connected = connected
        self._passes_descriptors = passes_descriptors
        self._advice = advice
        self.refusal: NCryptError | None = None
        """Why the service has refused this one, since it last said welcome."""
        self._wanted = True
        self._next_call = 0
        self._waiting: dict[int, _Asked] = {}
        self._until_ready: Promise[None] = Promise()
        self._stream: Stream | None = None
        self._session: Session
        if isinstance(place, Path):
            self._connect(place)
        else:
            self._greet(place)

    @property
    def ready(self) -> bool:
        """The peer has said welcome, and calls reach it."""
        return self.peer_instance is not None

    async def when_ready(self) -> None:
        """Wait until the peer, perhaps its next process, can be asked. Raises ``KEYISO_E_STALE``
        when there will be none.
        """
        while not self.ready:
            await self._until_ready

    def close(self) -> None:
        """Ask nothing more."""
        self._wanted = False
        if self._stream is not None:
            self._stream.close()
        self._until_ready.break_with(self._lost(()))

    def connect_anew(self) -> None:
        """End the connection, and make another one."""
        if self._stream is not None:
            self._stream.close()

    def take_descriptor(self) -> int:
        """The descriptor that came with the last answer; the caller owns it. Raises
        ``KEYISO_E_PROTOCOL`` when none came.
        """
        if self._stream is None or not self._stream.descriptors:
            raise RemoteProtocolError(f"{self.peer_service} sent no descriptor")
        return self._stream.descriptors.popleft()

    def call(
        self,
        operation: Operation[R_co],
        *,
        trace: str = "",
        hops: tuple[Hop, ...] = (),
        descriptor: int | None = None,
    ) -> Promise[R_co]:
        """Ask; the promise is kept with the result or broken with the peer's error.

        A descriptor is handed over with the call and closed here in any case.
        """
        promise: Promise[R_co] = Promise()
        descriptors = () if descriptor is None else (descriptor,)
        if self._stream is None or not self.ready:
            for unsent in descriptors:
                socket.close(unsent)
            promise.break_with(self._lost(hops))
            return promise
        self._next_call += 1
        call_id = self._next_call
        telling = self._loop.tellings.of(trace)
        try:
            frame = self._session.send(
                Call(call_id, operation, trace, hops, tell=telling is not None)
            )
        except NCryptError as error:
            for unsent in descriptors:
                socket.close(unsent)
            promise.break_with(error)
            return promise
        self._waiting[call_id] = _Asked(operation, promise, telling, hops)
        self._stream.write(frame, descriptors)
        return promise

    def _connect(self, path: Path) -> None:
        if not self._wanted:
            return
        connection: socket.socket | None = None
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.setblocking(False)  # who has a full backlog holds nobody else up
            connection.connect(str(path))
        except OSError:
            if connection is not None:
                connection.close()
            self._connect_later(path, _RETRY_SECONDS)
        else:
            self._greet(connection)

    def _connect_later(self, path: Path, seconds: float) -> None:
        self._loop.call_later(seconds, lambda: self._connect(path))

    def _greet(self, connection: socket.socket) -> None:
        self._session = Session(Role.CLIENT, client_decoder(), frame_bytes=self._frame_bytes)
        self._stream = Stream(
            self._loop,
            connection,
            received=self._received,
            closed=self._closed,
            passes_descriptors=self._passes_descriptors,
            most_unsent=limits.LINK_BUFFER_BYTES,
            # Answers are read in any case: were neither end to read while it has something to
            # write, both would wait for each other.
            pause_above=limits.LINK_BUFFER_BYTES,
        )
        self._stream.write(self._session.hello(self._service))

    def _received(self, data: bytes) -> None:
        stream = self._stream
        try:
            for message in self._session.receive(data):
                if self._stream is not stream:
                    return  # what an answer was for has ended the connection
                self._handle(message)
        except (RemoteProtocolError, msgspec.DecodeError):
            if self._stream is not None:
                self._stream.close()

    def _handle(self, message: Message) -> None:
        match message:
            case Welcome():
                self.peer_instance = message.instance_id
                self.peer_features = message.features
                self.refusal = None
                self._connected(self)
                waiting, self._until_ready = self._until_ready, Promise()
                waiting.keep(None)
            case Return():
                asked = self._answered(message)
                try:
                    result = result_of(asked.operation, message)
                except msgspec.DecodeError:
                    asked.promise.break_with(self._lost(asked.hops))
                    raise
                asked.promise.keep(result)
            case Failure():
                self._answered(message).promise.break_with(
                    ncrypt_error(message.status, message.cause, message.action, message.chain)
                )
            case Refusal():
                self.refusal = ncrypt_error(message.status, message.cause, message.action)
                raise RemoteProtocolError(message.cause)

    def _answered(self, message: Return | Failure) -> "_Asked":
        asked = self._waiting.pop(message.call_id, None)
        if asked is None:
            raise RemoteProtocolError(f"{self.peer_service} answered what it was not asked")
        if asked.telling is not None:
            asked.telling.add(message.spans)
        return asked

    def _closed(self) -> None:
        was_ready, self.peer_instance = self.ready, None
        self._stream = None
        waiting, self._waiting = self._waiting, {}
        for asked in waiting.values():
            asked.promise.break_with(self._lost(asked.hops))
        if self._path is None:
            self._until_ready.break_with(self._lost(()))
        else:
            # Who never said welcome may never say it: that is not asked again and again.
            seconds = _RECONNECT_SECONDS if was_ready else _RETRY_SECONDS
            self._connect_later(self._path, seconds if self.refusal is None else _REFUSED_SECONDS)

    def _lost(self, hops: tuple[Hop, ...]) -> NCryptError:
        return ncrypt_error(
            Status.KEYISO_E_STALE,
            f"{self.peer_service} is not reachable or ended while it was asked",
            self._advice,
            chain=(*hops, Hop(self.peer_service, 0, "not reachable")) if hops else (),
        )
