"""One connection as a state machine without I/O, for both sides.

Everything that affects state is in the two tables below. A session does not know sockets: the
caller feeds it bytes and gets messages, gives it messages and gets bytes.
"""

import enum
import os
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.wire.messages import (
    OLDEST_VERSION,
    PROTOCOL_VERSION,
    Call,
    Failure,
    GreaseHello,
    GreaseWelcome,
    Hello,
    Message,
    Refusal,
    Return,
    Welcome,
)


class Role(enum.Enum):
    CLIENT = "client"
    SERVER = "server"


class State(enum.Enum):
    START = "start"
    GREETING = "greeting"
    """Hello is on its way (client) or wants an answer (server)."""
    READY = "ready"
    REFUSED = "refused"
    """The server speaks none of the client's versions, or does not serve this client."""
    BROKEN = "broken"
    """The peer broke the protocol; nothing more is heard."""


class Direction(enum.Enum):
    SENT = "sends"
    RECEIVED = "receives"


S, R = Direction.SENT, Direction.RECEIVED

_Table = Mapping[State, Mapping[tuple[Direction, type[Message]], State]]

TRANSITIONS: Final[Mapping[Role, _Table]] = MappingProxyType(
    {
        Role.CLIENT: {
            State.START: {(S, Hello): State.GREETING},
            State.GREETING: {(R, Welcome): State.READY, (R, Refusal): State.REFUSED},
            State.READY: {
                (S, Call): State.READY,
                (R, Return): State.READY,
                (R, Failure): State.READY,
                (R, Refusal): State.REFUSED,
            },
            State.REFUSED: {},
            State.BROKEN: {},
        },
        Role.SERVER: {
            State.START: {(R, Hello): State.GREETING, (S, Refusal): State.REFUSED},
            State.GREETING: {(S, Welcome): State.READY, (S, Refusal): State.REFUSED},
            State.READY: {
                (R, Call): State.READY,
                (S, Return): State.READY,
                (S, Failure): State.READY,
                (S, Refusal): State.REFUSED,
            },
            State.REFUSED: {},
            State.BROKEN: {(S, Refusal): State.BROKEN},
        },
    }
)
"""What each side may send and receive in each state, and the state that follows. Everything
that is not here breaks the protocol."""

_Moves = Mapping[type[Message], State]

_COMPILED: Final[Mapping[tuple[Role, State], tuple[_Moves, _Moves]]] = {
    (role, state): (
        {kind: after for (direction, kind), after in moves.items() if direction is S},
        {kind: after for (direction, kind), after in moves.items() if direction is R},
    )
    for role, table in TRANSITIONS.items()
    for state, moves in table.items()
}
"""The same tables, by what a session has at hand when it sends and when it receives."""

OUTSTANDING_CALLS: Final = 1024
"""Unanswered calls on one connection: a pipelining client has reason for a few dozen."""


class ProtocolError(NCryptError):
    """Somebody broke the wire protocol. Never raised itself: see its two subclasses."""

    def __init__(self, cause: str, action: str = "") -> None:
        super().__init__(Status.KEYISO_E_PROTOCOL, cause, action)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.cause, self.action)


class LocalProtocolError(ProtocolError):
    """This process misused the session: a defect in keyiso."""


class FrameTooLongError(LocalProtocolError):
    """What was to be sent is more than the connection takes. Nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other process sent what the protocol does not allow. Close the connection."""


_LENGTH: Final = struct.Struct("<I")
_ENCODER: Final = msgspec.msgpack.Encoder()


def client_decoder() -> msgspec.msgpack.Decoder[Any]:
    """Decodes what a server sends."""
    return msgspec.msgpack.Decoder(Welcome | Return | Failure | Refusal)


def server_decoder(operations: Any) -> msgspec.msgpack.Decoder[Any]:
    """Decodes what a client sends to a service with this union of operations."""
    return msgspec.msgpack.Decoder(Hello | Call[operations])


class Session:
    """One side of one connection.

    ``frame_bytes`` is the longest frame that is accepted or sent.
    """

    def __init__(
        self,
        role: Role,
        decoder: msgspec.msgpack.Decoder[Any],
        *,
        frame_bytes: int,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.role = role
        self._enter(State.START)
        self.version = 0
        """The version agreed on; 0 before the welcome."""
        self._decoder = decoder
        self._frame_bytes = frame_bytes
        self._random = random
        self._buffer = bytearray()
        self._outstanding: set[int] = set()

    @property
    def outstanding(self) -> int:
        """Calls without an answer yet."""
        return len(self._outstanding)

    @property
    def in_frame(self) -> bool:
        """A frame was begun and not finished."""
        return bool(self._buffer)

    @property
    def half_sent(self) -> int:
        """Bytes of the frame that is not whole yet."""
        return len(self._buffer)

    def send(self, message: Message) -> bytes:
        """The frame of a message. Raises ``LocalProtocolError`` when it may not be sent now."""
        kind = _kind(message)
        after = self._may_send.get(kind)
        if after is None:
            raise LocalProtocolError(f"{kind.__name__} cannot be sent in state {self.state.value}")
        body = _ENCODER.encode(message)
        if len(body) > self._frame_bytes:
            raise FrameTooLongError(
                f"the frame has {len(body)} bytes; this connection takes {self._frame_bytes}"
            )
        self._note_sent(message)
        if after is not self.state:
            self._enter(after)
        return _LENGTH.pack(len(body)) + body

    def receive(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete.

        Raises ``RemoteProtocolError`` for what the peer must not send; the session is then
        broken for good. An end of the stream in mid-frame is told by `in_frame`.
        """
        if self.state is State.BROKEN:
            raise RemoteProtocolError("the connection is already broken")
        try:
            if self._buffer:
                self._buffer += data
                messages, used = self._take_frames(self._buffer)
                del self._buffer[:used]
            else:
                # What usually comes is whole frames: they are decoded where they are.
                messages, used = self._take_frames(data)
                if used < len(data):
                    self._buffer += data[used:]
        except RemoteProtocolError:
            self._enter(State.BROKEN)
            raise
        return messages

    def hello(self, service: str, features: tuple[str, ...] = ()) -> bytes:
        """The client's first bytes."""
        return self.send(
            GreaseHello(OLDEST_VERSION, PROTOCOL_VERSION, service, features, grease=self._random(3))
        )

    def welcome(
        self,
        hello: Hello,
        *,
        service: str,
        instance_id: bytes,
        boot_id: bytes,
        pid: int,
        features: tuple[str, ...] = (),
    ) -> bytes:
        """The server's answer to a hello: a welcome, or a refusal that names the versions."""
        if not hello.oldest_version <= PROTOCOL_VERSION <= hello.newest_version:
            return self.send(
                Refusal(
                    Status.KEYISO_E_PROTOCOL,
                    f"the client speaks the versions {hello.oldest_version} to"
                    f" {hello.newest_version} of the protocol, {service} speaks"
                    f" {OLDEST_VERSION} to {PROTOCOL_VERSION}",
                    "Run the same version of keyiso on both sides.",
                )
            )
        return self.send(
            GreaseWelcome(
                PROTOCOL_VERSION,
                service,
                instance_id,
                boot_id,
                pid,
                features,
                grease=self._random(3),
            )
        )

    def _take_frames(self, data: bytes | bytearray) -> tuple[list[Message], int]:
        """The messages of the whole frames at the beginning, and how many bytes they take."""
        messages: list[Message] = []
        start, end = 0, len(data)
        while end - start >= limits.FRAME_HEADER_BYTES:
            (length,) = _LENGTH.unpack_from(data, start)
            if length > self._frame_bytes:
                raise RemoteProtocolError(
                    f"a frame of {length} bytes was announced;"
                    f" this connection takes {self._frame_bytes}"
                )
            body = start + limits.FRAME_HEADER_BYTES
            start = body + length
            if start > end:
                return messages, body - limits.FRAME_HEADER_BYTES
            messages.append(self._decode(data[body:start]))
        return messages, start

    def _enter(self, state: State) -> None:
        self.state = state
        self._may_send, self._may_receive = _COMPILED[self.role, state]

    def _decode(self, body: bytes | bytearray) -> Message:
        try:
            message: Message = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The decoder's message may quote the frame; it stays here.
            raise RemoteProtocolError(
                f"a frame of {len(body)} bytes is not a message of this connection"
            ) from None
        after = self._may_receive.get(type(message))
        if after is None:
            raise RemoteProtocolError(f"{type(message).__name__} came in state {self.state.value}")
        self._note_received(message)
        if after is not self.state:
            self._enter(after)
        return message

    def _note_sent(self, message: Message) -> None:
        if isinstance(message, Call):
            if len(message.trace) > limits.TRACEPARENT_BYTES or not _fit(message.hops):
                raise LocalProtocolError("the trace or the hops of a call are too long")
            if message.call_id in self._outstanding or message.call_id <= 0:
                raise LocalProtocolError(f"the call id {message.call_id} is in use")
            if len(self._outstanding) >= OUTSTANDING_CALLS:
                raise LocalProtocolError(f"more than {OUTSTANDING_CALLS} calls are unanswered")
            self._outstanding.add(message.call_id)
        elif isinstance(message, Return | Failure):
            if message.call_id not in self._outstanding:
                raise LocalProtocolError(f"no call {message.call_id} wants an answer")
            self._outstanding.discard(message.call_id)
        elif isinstance(message, Welcome):
            self.version = message.version

    def _note_received(self, message: Message) -> None:
        if isinstance(message, Call):
            if message.call_id in self._outstanding or message.call_id <= 0:
                raise RemoteProtocolError(f"the call id {message.call_id} is in use")
            if len(self._outstanding) >= OUTSTANDING_CALLS:
                raise RemoteProtocolError(f"more than {OUTSTANDING_CALLS} calls are unanswered")
            if len(message.trace) > limits.TRACEPARENT_BYTES or not _fit(message.hops):
                raise RemoteProtocolError("the trace or the hops of a call are too long")
            self._outstanding.add(message.call_id)
        elif isinstance(message, Return | Failure):
            if message.call_id not in self._outstanding:
                raise RemoteProtocolError(f"an answer came to call {message.call_id}")
            self._outstanding.discard(message.call_id)
        elif isinstance(message, Welcome):
            if message.version != PROTOCOL_VERSION:
                raise RemoteProtocolError(f"the server chose version {message.version}")
            self.version = message.version


def _kind(message: Message) -> type[Message]:
    """The row of the table that a message stands in (greased ones are what they extend)."""
    kind = _KINDS.get(type(message))
    if kind is None:
        raise LocalProtocolError(f"{type(message).__name__} is not a message of the protocol")
    return kind


_KINDS: Final[dict[type, type[Message]]] = {
    GreaseHello: Hello,
    Hello: Hello,
    GreaseWelcome: Welcome,
    Welcome: Welcome,
    Call: Call,
    Return: Return,
    Failure: Failure,
    Refusal: Refusal,
}


def _fit(hops: tuple[Any, ...]) -> bool:
    return len(hops) <= limits.HOPS and all(
        len(hop.service) <= limits.HOP_TEXT_BYTES and len(hop.function) <= limits.HOP_TEXT_BYTES
        for hop in hops
    )
