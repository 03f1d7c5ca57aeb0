"""Where the sockets of one side meet the line."""

import os
import socket
from collections.abc import Callable
from typing import Final

from keyiso import limits
from keyiso.guest.line import Line
from keyiso.server.loop import Loop
from keyiso.server.stream import Stream
from keyiso.wire.multiplexer import Came, Ended, Multiplexer, Opened, Side, Writable
from keyiso.wire.session import RemoteProtocolError

_GREETING_SECONDS: Final = 1.0
"""Until a hello is repeated that nobody has answered."""


class Junction:
    """From the first hello on a line to its end.

    ``connect`` gives the socket for a stream that the other side opened, or None. ``ready`` is
    called when the other side has answered, ``ended`` once, with the reason.
    """

    def __init__(
        self,
        loop: Loop,
        side: Side,
        descriptor: int,
        *,
        connect: Callable[[], socket.socket | None],
        ready: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        self.open = True
        self.loop = loop
        self.passes_descriptors = side is Side.OUTSIDE
        self.multiplexer = Multiplexer(side)
        self._connect = connect
        self._ready = ready
        self._ended = ended
        self._ends: dict[int, _End] = {}
        self._line = Line(
            loop,
            descriptor,
            received=self._received,
            drained=self._read_what_may,
            closed=lambda: self.close("the line ended"),
        )
        self.flush()
        loop.call_later(_GREETING_SECONDS, self._greet_again)

    @property
    def has_room(self) -> bool:
        """One more client can be served."""
        return self.multiplexer.ready and self.multiplexer.streams < limits.MUX_CONTROLS

    def add(self, connection: socket.socket, parent: int = 0) -> None:
        """Give a socket of this side a stream."""
        self._join(self.multiplexer.open(parent), connection)
        self.flush()

    def close(self, why: str) -> None:
        """End the line and every connection that went over it."""
        if not self.open:
            return
        self.open = False
        self._line.close()
        for end in tuple(self._ends.values()):
            end.close()
        self._ended(why)

    def flush(self) -> None:
        """Send what there is to send."""
        was_congested = self._line.congested
        self._line.write(self.multiplexer.output())
        if self._line.congested and not was_congested:
            self._read_what_may()

    def may_read(self, stream: int) -> bool:
        """What is read from this stream's socket now can leave by the line."""
        return not self._line.congested and self.multiplexer.may_send(stream)

    def forget(self, stream: int) -> None:
        """The socket of a stream has ended."""
        del self._ends[stream]
        if self.open:
            self.multiplexer.end(stream)
            self.flush()

    def _greet_again(self) -> None:
        if self.open and not self.multiplexer.ready:
            if self._line.idle:
                self.multiplexer.greet()
                self.flush()
            self.loop.call_later(_GREETING_SECONDS, self._greet_again)

    def _received(self, data: bytes) -> None:
        was_ready = self.multiplexer.ready
        try:
            events = self.multiplexer.receive(data)
        except RemoteProtocolError as error:
            self.close(error.cause)
            return
        self.flush()
        if self.open and self.multiplexer.ready and not was_ready:
            self._ready()
        for event in events:
            if not self.open:
                return
            match event:
                case Opened(stream, None):
                    self._open(stream)
                case Opened(stream, int(parent)):
                    self._hand_over(stream, parent)
                case Came(stream, data) if stream in self._ends:
                    self._ends[stream].write(data)
                case Writable(stream) if stream in self._ends:
                    self._ends[stream].read_if_allowed()
                case Ended(stream) if stream in self._ends:
                    self._ends[stream].finish()
        self.flush()

    def _open(self, stream: int) -> None:
        connection = self._connect()
        if connection is None:
            self.multiplexer.end(stream)
        else:
            self._join(stream, connection)

    def _hand_over(self, stream: int, parent: int) -> None:
        """The client gets a descriptor, as it would from the KeyIso service."""
        ours, theirs = socket.socketpair()
        self._join(stream, ours)
        if parent in self._ends:
            self._ends[parent].descriptors.append(theirs.detach())
        else:
            theirs.close()

    def _join(self, stream: int, connection: socket.socket) -> None:
        self._ends[stream] = _End(self, stream, connection)

    def _read_what_may(self) -> None:
        for end in tuple(self._ends.values()):
            end.read_if_allowed()


class _End:
    """A socket of this side, and its stream."""

    def __init__(self, junction: Junction, stream: int, connection: socket.socket) -> None:
        self.descriptors: list[int] = []
        """They go with the next bytes."""
        self._junction = junction
        self._stream = stream
        self._passing = 0
        """Bytes that came, and are not given back as credit."""
        self._unsent = 0
        """Those of them that wait for the socket."""
        self._finishing = False
        self._socket = Stream(
            junction.loop,
            connection,
            received=self._received,
            closed=self._closed,
            passes_descriptors=junction.passes_descriptors,
            unsent=self._count_unsent,
            # The window is the limit, and the two directions do not wait for each other.
            most_unsent=limits.MUX_WINDOW_BYTES,
            pause_above=limits.MUX_WINDOW_BYTES,
        )

    def write(self, data: bytes) -> None:
        """Pass on what came by the line; it is taken as far as the socket takes it."""
        descriptors, self.descriptors = self.descriptors, []
        self._passing += len(data)
        self._socket.write(data, descriptors)
        self._give_credit()

    def read_if_allowed(self) -> None:
        if self._socket.open:
            self._socket.read(self._junction.may_read(self._stream))

    def finish(self) -> None:
        """Close when everything is written."""
        if self._unsent:
            self._finishing = True
        else:
            self.close()

    def close(self) -> None:
        self._socket.close()

    def _received(self, data: bytes) -> None:
        junction = self._junction
        while self._socket.descriptors:
            connection = socket.socket(fileno=self._socket.descriptors.popleft())
            if junction.multiplexer.streams >= limits.MUX_STREAMS:
                connection.close()
                self.close()  # what came with the bytes cannot follow them
                return
            junction.add(connection, self._stream)
        junction.multiplexer.send(self._stream, data)
        junction.flush()
        self.read_if_allowed()

    def _count_unsent(self, change: int) -> None:
        self._unsent += change
        if self._socket.open:
            self._give_credit()
            self._junction.flush()
            if self._finishing and not self._unsent:
                self._junction.loop.call_soon(self.close)

    def _give_credit(self) -> None:
        self._junction.multiplexer.taken(self._stream, self._passing - self._unsent)
        self._passing = self._unsent

    def _closed(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)
        self._junction.forget(self._stream)
