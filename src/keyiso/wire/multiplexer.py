"""Many streams over one line that passes no descriptors, as a state machine without I/O.

The line leads into a virtual machine. Inside are clients, outside is the KeyIso service; a stream
stands for a connection to the control socket, or for a descriptor that came over one. What the
bytes of a stream mean is not looked at here.

A line need not tell that the other side began anew: each begins with a nonce of its own, and hears
nothing before the other one has repeated it. Where frames do not follow each other any more, an
error ends the multiplexer; the caller goes on with a new one.
"""

import enum
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from keyiso import limits
from keyiso.wire.session import LocalProtocolError, RemoteProtocolError

VERSION: Final = 1

_MAGIC: Final = b"keyiso streams\r\n"
_NONCE_BYTES: Final = 16
_NOBODY: Final = bytes(_NONCE_BYTES)
_HELLO: Final = struct.Struct(f"<{len(_MAGIC)}sB{_NONCE_BYTES}s{_NONCE_BYTES}s")
"""Magic, version, the sender's nonce, the nonce that it heard last."""

_HEADER: Final = struct.Struct("<BIH")
"""Kind, stream, length of what follows."""
_NUMBER: Final = struct.Struct("<I")

_PREAMBLE: Final = b"\xff" * (_HEADER.size + limits.MUX_FRAME_BYTES)
"""Fills up whatever frame was cut off on the line, and is none."""


class Side(enum.IntEnum):
    """The number is that of the side's first stream; the next ones are two apart."""

    INSIDE = 1
    """In the machine, where the clients are. Opens control connections."""
    OUTSIDE = 2
    """Where the KeyIso service is. Opens key channels."""


class _Kind(enum.IntEnum):
    HELLO = 1
    CONTROL = 2
    """A new stream to the control socket."""
    CHANNEL = 3
    """A new stream for a descriptor, which belongs to the next bytes of a stream that is named."""
    DATA = 4
    CREDIT = 5
    """So many bytes more may be sent."""
    END = 6


_LENGTHS: Final[dict[int, tuple[int, int]]] = {
    _Kind.HELLO: (_HELLO.size, _HELLO.size),
    _Kind.CONTROL: (_NUMBER.size, _NUMBER.size),
    _Kind.CHANNEL: (_NUMBER.size, _NUMBER.size),
    _Kind.DATA: (limits.MUX_FRAME_BYTES, 0),
    _Kind.CREDIT: (_NUMBER.size, _NUMBER.size),
    _Kind.END: (0, 0),
}
"""The longest and the shortest body of a frame."""
_IN_A_STREAM: Final = frozenset({_Kind.DATA, _Kind.CREDIT, _Kind.END})

_OPENS: Final = {Side.INSIDE: _Kind.CONTROL, Side.OUTSIDE: _Kind.CHANNEL}


@dataclass(frozen=True, slots=True)
class Opened:
    """The other side opened a stream."""

    stream: int
    parent: int | None
    """The stream that the descriptor came over; None for a control connection."""


@dataclass(frozen=True, slots=True)
class Came:
    """Bytes of a stream. They count against its window until `Multiplexer.taken`."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Writable:
    """Everything that was sent has left, and more may follow."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The other side ended a stream."""

    stream: int


Event = Opened | Came | Writable | Ended


@dataclass(slots=True)
class _Flow:
    """What may still be sent and received on one stream."""

    credit: int = limits.MUX_WINDOW_BYTES
    window: int = limits.MUX_WINDOW_BYTES
    taken: int = 0
    """Bytes that were taken and not yet given back as credit."""
    waiting: bytearray = field(default_factory=bytearray)
    """Bytes for which there was no credit."""
    ending: bool = False
    """Ends when they have left."""


class Multiplexer:
    """One side of the line. After each call `output` has what is to be sent."""

    def __init__(self, side: Side, random: Callable[[int], bytes] = os.urandom) -> None:
        self.ready = False
        """The other side has answered; streams can be opened."""
        self._side = side
        self._nonce = random(_NONCE_BYTES)
        self._peer = _NOBODY
        self._flows: dict[int, _Flow] = {}
        self._next = int(side)
        self._next_of_peer = 3 - int(side)
        self._buffer = bytearray()
        self._output: list[bytes] = [_PREAMBLE]
        self.greet()

    @property
    def streams(self) -> int:
        """Streams that have not ended."""
        return len(self._flows)

    def output(self) -> bytes:
        """What is to be sent now, in order."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def greet(self) -> None:
        """Say hello, again while nobody answers: a line may have swallowed it."""
        hello = _HELLO.pack(_MAGIC, VERSION, self._nonce, self._peer)
        self._frame(_Kind.HELLO, 0, hello)

    def open(self, parent: int = 0) -> int:
        """A new stream: inside, a control connection; outside, a descriptor that comes with the
        next bytes of ``parent``.

        Raises ``LocalProtocolError`` when the other side has not answered, or for one stream too
        many.
        """
        if not self.ready or self.streams >= limits.MUX_STREAMS:
            raise LocalProtocolError(f"no room for one more of {self.streams} streams")
        stream, self._next = self._next, self._next + 2
        self._flows[stream] = _Flow()
        self._frame(_OPENS[self._side], stream, _NUMBER.pack(parent))
        return stream

    def send(self, stream: int, data: bytes) -> None:
        """Send as far as the other side has room, and the rest when it has. Nothing on a stream
        that has ended.
        """
        flow = self._flows.get(stream)
        if flow is not None:
            flow.waiting += data
            self._send_waiting(stream, flow)

    def may_send(self, stream: int) -> bool:
        """More would not have to wait here."""
        flow = self._flows.get(stream)
        return flow is not None and not flow.waiting and flow.credit > 0

    def taken(self, stream: int, count: int) -> None:
        """Bytes that came were passed on: the other side may send so many more."""
        flow = self._flows.get(stream)
        if flow is None:
            return
        flow.taken += count
        if flow.taken >= limits.MUX_WINDOW_BYTES // 2:
            flow.window += flow.taken
            self._frame(_Kind.CREDIT, stream, _NUMBER.pack(flow.taken))
            flow.taken = 0

    def end(self, stream: int) -> None:
        """End a stream, when what was sent on it has left."""
        flow = self._flows.get(stream)
        if flow is not None:
            flow.ending = True
            self._send_waiting(stream, flow)

    def receive(self, data: bytes) -> list[Event]:
        """What these bytes say.

        Raises ``RemoteProtocolError`` for what the other side must not send, and when it began
        anew.
        """
        self._buffer += data
        while not self.ready:
            if not self._find_hello():
                return []
        events: list[Event] = []
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            kind, stream, length = _HEADER.unpack_from(self._buffer, start)
            self._check_header(kind, stream, length)
            body = start + _HEADER.size
            if body + length > len(self._buffer):
                break
            start = body + length
            event = self._hear(kind, stream, bytes(self._buffer[body:start]))
            if event is not None:
                events.append(event)
        del self._buffer[:start]
        return events

    # --- beginning -----------------------------------------------------------------------------

    def _find_hello(self) -> bool:
        """Look for a hello in what may be anything. False when more bytes are needed."""
        place = self._buffer.find(_MAGIC)
        del self._buffer[: place if place >= 0 else 1 - len(_MAGIC)]
        if place < 0 or len(self._buffer) < _HELLO.size:
            return False
        nonce, echo = _nonces(self._buffer[: _HELLO.size])
        del self._buffer[: _HELLO.size]
        if nonce not in (self._nonce, _NOBODY):  # a terminal may send back what it gets
            self._peer = nonce
            self.ready = echo == self._nonce
            self.greet()
        return True

    # --- frames --------------------------------------------------------------------------------

    def _check_header(self, kind: int, stream: int, length: int) -> None:
        """Before the rest has come, as one would wait long for what rubbish announces."""
        longest, shortest = _LENGTHS.get(kind, (-1, 0))
        if not shortest <= length <= longest:
            raise RemoteProtocolError(f"a frame of kind {kind} and {length} bytes was announced")
        if kind in _IN_A_STREAM:
            self._flow(stream)

    def _hear(self, kind: int, stream: int, body: bytes) -> Event | None:
        if kind == _Kind.HELLO:
            nonce, _ = _nonces(body)
            if nonce != self._peer:
                raise RemoteProtocolError("the other side of the line began anew")
            return None
        if kind == _OPENS[_other(self._side)]:
            return self._hear_opened(kind, stream, _number(body))
        flow = self._flow(stream)
        if kind == _Kind.DATA:
            return self._hear_data(stream, flow, body)
        if kind == _Kind.CREDIT:
            return self._hear_credit(stream, flow, _number(body))
        if kind == _Kind.END:
            return None if self._flows.pop(stream, None) is None else Ended(stream)
        raise RemoteProtocolError(f"a frame of kind {kind} came on the line")

    def _hear_opened(self, kind: int, stream: int, parent: int) -> Opened:
        if stream != self._next_of_peer:
            raise RemoteProtocolError(f"stream {stream} was opened out of turn")
        if self.streams >= limits.MUX_STREAMS:
            raise RemoteProtocolError(f"more than MUX_STREAMS ({limits.MUX_STREAMS}) were opened")
        self._next_of_peer += 2
        self._flows[stream] = _Flow()
        if kind == _Kind.CONTROL:
            return Opened(stream, None)
        self._flow(parent)
        return Opened(stream, parent)

    def _hear_data(self, stream: int, flow: _Flow | None, data: bytes) -> Came | None:
        if flow is None:
            return None
        if len(data) > flow.window:
            raise RemoteProtocolError(
                f"more than MUX_WINDOW_BYTES ({limits.MUX_WINDOW_BYTES}) came on stream {stream}"
            )
        flow.window -= len(data)
        return Came(stream, data)

    def _hear_credit(self, stream: int, flow: _Flow | None, count: int) -> Writable | None:
        if flow is None:
            return None
        if flow.credit + count > limits.MUX_WINDOW_BYTES:
            raise RemoteProtocolError(f"too much credit came for stream {stream}")
        flow.credit += count
        self._send_waiting(stream, flow)
        return Writable(stream) if self.may_send(stream) else None

    def _flow(self, stream: int) -> _Flow | None:
        """None for a stream that has ended: what crossed the end on its way is ignored."""
        ours = stream % 2 == self._side % 2
        if not 0 < stream < (self._next if ours else self._next_of_peer):
            raise RemoteProtocolError(f"there was never a stream {stream}")
        return self._flows.get(stream)

    def _send_waiting(self, stream: int, flow: _Flow) -> None:
        while flow.waiting and flow.credit:
            size = min(flow.credit, limits.MUX_FRAME_BYTES)
            data = bytes(flow.waiting[:size])
            del flow.waiting[:size]
            flow.credit -= len(data)
            self._frame(_Kind.DATA, stream, data)
        if flow.ending and not flow.waiting:
            del self._flows[stream]
            self._frame(_Kind.END, stream, b"")

    def _frame(self, kind: _Kind, stream: int, body: bytes) -> None:
        self._output.append(_HEADER.pack(kind, stream, len(body)) + body)


def _other(side: Side) -> Side:
    return Side.OUTSIDE if side is Side.INSIDE else Side.INSIDE


def _nonces(hello: bytes | bytearray) -> tuple[bytes, bytes]:
    if len(hello) != _HELLO.size or not hello.startswith(_MAGIC):
        raise RemoteProtocolError("what came on the line is no hello")
    _, version, nonce, echo = _HELLO.unpack(hello)
    if version != VERSION:
        raise RemoteProtocolError(
            f"the other side of the line speaks version {version}, this one {VERSION}",
            "Run the same version of keyiso on both sides.",
        )
    return nonce, echo


def _number(body: bytes) -> int:
    (number,) = _NUMBER.unpack(body)
    return int(number)
