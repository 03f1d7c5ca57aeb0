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
    Span,
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
        self.half_sent = 0
        """Bytes of a frame that was begun and is not whole yet."""
        self._outstanding: set[int] = set()
        self._large: dict[int, int] = {}

    @property
    def outstanding(self) -> int:
        """Calls without an answer yet."""
        return len(self._outstanding)

    def large(self, call: Call[Any]) -> int:
        """Bytes of a call that came and wants an answer, if more than ``LARGE_CALL_BYTES``."""
        return self._large.get(call.call_id, 0)

    def send(self, message: Message) -> bytes:
        """The frame of a message. Raises ``LocalProtocolError`` when it may not be sent now."""
        move = self._may_send.get(type(message))
        if move is None:
            raise LocalProtocolError(
                f"{type(message).__name__} cannot be sent in state {self.state.value}"
            )
        after, note = move
        body = _ENCODER.encode(message)
        if len(body) > self._frame_bytes:
            raise FrameTooLongError(
                f"the frame has {len(body)} bytes; this connection takes {self._frame_bytes}"
            )
        note(self, message)
        if after is not self.state:
            self._enter(after)
        return _LENGTH.pack(len(body)) + body

    def receive(self, data: bytes | bytearray) -> list[Message]:
        """The messages that these bytes complete.

        Raises ``RemoteProtocolError`` for what the peer must not send; the session is then
        broken for good. An end of the stream in mid-frame is told by `half_sent`.
        """
        if not self._may_receive and self.state is State.BROKEN:
            raise RemoteProtocolError("the connection is already broken")
        if self.half_sent:
            self._buffer += data
            data = self._buffer
        messages: list[Message] = []
        start, end = 0, len(data)
        try:
            while end - start >= limits.FRAME_HEADER_BYTES:
                (length,) = _LENGTH.unpack_from(data, start)
                if length > self._frame_bytes:
                    raise RemoteProtocolError(
                        f"a frame of {length} bytes was announced;"
                        f" this connection takes {self._frame_bytes}"
                    )
                body = start + limits.FRAME_HEADER_BYTES
                if body + length > end:
                    break
                start = body + length
                message = self._decode(data[body:start])
                messages.append(message)
                if length > limits.LARGE_CALL_BYTES and isinstance(message, Call):
                    self._large[message.call_id] = length
        except RemoteProtocolError:
            self._enter(State.BROKEN)
            raise
        if self.half_sent:
            del self._buffer[:start]
            self.half_sent = end - start
        elif start < end:  # else only whole frames came, as usual
            self._buffer += data[start:]
            self.half_sent = end - start
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
        move = self._may_receive.get(type(message))
        if move is None:
            raise RemoteProtocolError(f"{type(message).__name__} came in state {self.state.value}")
        after, note = move
        note(self, message)
        if after is not self.state:
            self._enter(after)
        return message

    # --- what else is true of a message that may be sent or received ----------------------------

    def _call_sent(self, call: Call[Any]) -> None:
        if not _fits(call):
            raise LocalProtocolError("the trace or the hops of a call are too long")
        if call.call_id in self._outstanding or call.call_id <= 0:
            raise LocalProtocolError(f"the call id {call.call_id} is in use")
        if len(self._outstanding) >= OUTSTANDING_CALLS:
            raise LocalProtocolError(f"more than {OUTSTANDING_CALLS} calls are unanswered")
        self._outstanding.add(call.call_id)

    def _call_received(self, call: Call[Any]) -> None:
        if call.call_id in self._outstanding or call.call_id <= 0:
            raise RemoteProtocolError(f"the call id {call.call_id} is in use")
        if len(self._outstanding) >= OUTSTANDING_CALLS:
            raise RemoteProtocolError(f"more than {OUTSTANDING_CALLS} calls are unanswered")
        if not _fits(call):
            raise RemoteProtocolError("the trace or the hops of a call are too long")
        self._outstanding.add(call.call_id)

    def _answer_sent(self, answer: Return | Failure) -> None:
        if answer.call_id not in self._outstanding:
            raise LocalProtocolError(f"no call {answer.call_id} wants an answer")
        self._outstanding.remove(answer.call_id)
        if self._large:
            self._large.pop(answer.call_id, None)

    def _answer_received(self, answer: Return | Failure) -> None:
        if answer.call_id not in self._outstanding:
            raise RemoteProtocolError(f"an answer came to call {answer.call_id}")
        if answer.spans and not _spans_fit(answer.spans):
            raise RemoteProtocolError("the spans of an answer are too many or too long")
        self._outstanding.remove(answer.call_id)

    def _welcome_sent(self, welcome: Welcome) -> None:
        self.version = welcome.version

    def _welcome_received(self, welcome: Welcome) -> None:
        if welcome.version != PROTOCOL_VERSION:
            raise RemoteProtocolError(f"the server chose version {welcome.version}")
        self.version = welcome.version

    def _nothing_else(self, message: Message) -> None:
        """The tables say it all."""


_Note = Callable[[Session, Any], None]

_NOTES: Final[Mapping[tuple[Direction, type[Message]], _Note]] = {
    (S, Hello): Session._nothing_else,
    (R, Hello): Session._nothing_else,
    (S, Welcome): Session._welcome_sent,
    (R, Welcome): Session._welcome_received,
    (S, Call): Session._call_sent,
    (R, Call): Session._call_received,
    (S, Return): Session._answer_sent,
    (R, Return): Session._answer_received,
    (S, Failure): Session._answer_sent,
    (R, Failure): Session._answer_received,
    (S, Refusal): Session._nothing_else,
    (R, Refusal): Session._nothing_else,
}

_GREASED: Final[Mapping[type[Message], type[Message]]] = {
    Hello: GreaseHello,
    Welcome: GreaseWelcome,
}
"""What is sent in a message's place; nobody receives one as such."""

_Moves = Mapping[type[Message], tuple[State, _Note]]


def _moves(role: Role, state: State, direction: Direction) -> _Moves:
    """What may be sent, or received, in a state: one look-up for each message."""
    moves = {
        kind: (after, _NOTES[toward, kind])
        for (toward, kind), after in TRANSITIONS[role][state].items()
        if toward is direction
    }
    return moves | {_GREASED[kind]: move for kind, move in moves.items() if kind in _GREASED}


_COMPILED: Final[Mapping[tuple[Role, State], tuple[_Moves, _Moves]]] = {
    (role, state): (_moves(role, state, S), _moves(role, state, R))
    for role, table in TRANSITIONS.items()
    for state in table
}


def _fits(call: Call[Any]) -> bool:
    """The trace and the hops, which other processes pass on, are within their limits."""
    if len(call.trace) > limits.TRACEPARENT_BYTES or len(call.hops) > limits.HOPS:
        return False
    for hop in call.hops:  # in every call: a generator takes twice as long
        if len(hop.service) > limits.HOP_TEXT_BYTES or len(hop.function) > limits.HOP_TEXT_BYTES:
            return False
    return True


def _spans_fit(spans: tuple[Span, ...]) -> bool:
    """The spans, which other processes pass on, are within their limits."""
    return len(spans) <= limits.SPANS and all(
        len(span.service) <= limits.HOP_TEXT_BYTES
        and len(span.function) <= limits.HOP_TEXT_BYTES
        and 0 <= span.depth < limits.HOPS
        for span in spans
    )
