"""One non-blocking socket in a loop: buffered writing, reading, descriptors."""

import array
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.server.loop import READ, WRITE, Loop

_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(limits.DESCRIPTORS_PER_MESSAGE * 4)


def _nobody_counts(change: int) -> None:
    """Nobody has a share of what waits."""


class Stream:
    """A connected Unix stream socket.

    ``received`` is called with the bytes that came, ``closed`` once, when the connection ended
    for whatever reason. With ``passes_descriptors`` the descriptors that came wait in
    `descriptors`, in the order in which they were sent. ``unsent`` is told how many bytes more, or
    fewer, wait for a peer that does not read; a stream for which it raises is closed. ``starved``
    is called when there is no memory to read into.
    """

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        *,
        received: Callable[[bytes], None],
        closed: Callable[[], None],
        passes_descriptors: bool = False,
        unsent: Callable[[int], None] = _nobody_counts,
        starved: Callable[[], None] | None = None,
        most_unsent: int = limits.SEND_BUFFER_BYTES,
        pause_above: int = limits.SEND_PAUSE_BYTES,
    ) -> None:
        self.descriptors: deque[int] = deque()
        self._loop = loop
        self._socket = connection
        self._received = received
        self._closed = closed
        self._starved = starved or self.close
        self._read = self._read_with_descriptors if passes_descriptors else connection.recv
        self._unsent: deque[tuple[memoryview, Sequence[int]]] = deque()
        self._unsent_bytes = 0
        self._tell_unsent = unsent
        self._told_unsent = 0
        self._most_unsent = most_unsent
        self._pause_above = pause_above
        self._watched = READ
        self.open = True
        self.reading = True
        connection.setblocking(False)
        loop.watch(connection, READ, self._ready)

    def write(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send, now or when the peer reads again. The descriptors are closed once they went.

        A peer that leaves ``most_unsent`` bytes unread is dropped.
        """
        if not self.open:
            _close_all(descriptors)
            return
        if not self._unsent and not descriptors:
            # The usual case: the peer reads, and everything fits into its buffer.
            try:
                sent = self._socket.send(data)
            except OSError:
                sent = 0  # `_flush` finds out whether it passes
            if sent == len(data):
                return
            data = data[sent:]
        self._unsent.append((memoryview(data), descriptors))
        self._unsent_bytes += len(data)
        self._flush()
        if self._unsent_bytes > self._most_unsent:
            self.close()
        else:
            self._count_unsent()

    @property
    def unsent(self) -> int:
        """Bytes that the peer has not read yet."""
        return self._unsent_bytes

    def duplicate(self) -> int:
        """Another descriptor of the socket. Raises ``OSError`` when there is none to be had."""
        return os.dup(self._socket.fileno())

    def read(self, on: bool) -> None:
        """Read what comes, or leave it to wait."""
        self.reading = on
        if self.open:
            self._watch_what_matters()

    def close(self) -> None:
        """End the connection; unsent bytes are lost."""
        if not self.open:
            return
        self.open = False
        if self._watched:
            self._loop.forget(self._socket)
        self._socket.close()
        for _, descriptors in self._unsent:
            _close_all(descriptors)
        self._unsent.clear()
        self._unsent_bytes = 0
        self._count_unsent()
        _close_all(self.descriptors)
        self.descriptors.clear()
        self._closed()

    def _ready(self, events: int) -> None:
        if events & WRITE and self.open:
            self._flush()
            self._count_unsent()
        if not (events & READ and self.open):
            return
        try:
            data = self._read(limits.READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        except MemoryError:
            self._starved()
            return
        if data:
            self._received(data)
        else:
            self.close()

    def _read_with_descriptors(self, size: int) -> bytes:
        data, ancillary, _, _ = self._socket.recvmsg(
            size, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                self.descriptors.extend(received)
        if len(self.descriptors) > limits.DESCRIPTORS_PER_MESSAGE:
            raise OSError("the peer sent more descriptors than any message carries")
        return data

    def _flush(self) -> None:
        try:
            while self._unsent:
                data, descriptors = self._unsent[0]
                sent = self._send(data, descriptors)
                _close_all(descriptors)
                self._unsent_bytes -= sent
                if sent == len(data):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = (data[sent:], ())
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        self._watch_what_matters()

    def _count_unsent(self) -> None:
        change = self._unsent_bytes - self._told_unsent
        if not change:
            return
        try:
            self._tell_unsent(change)
        except NCryptError:
            self.close()
        else:
            self._told_unsent += change

    def _send(self, data: memoryview, descriptors: Sequence[int]) -> int:
        if descriptors:
            return socket.send_fds(self._socket, [data], list(descriptors))
        return self._socket.send(data)

    def _watch_what_matters(self) -> None:
        """Write while something is unsent; read no requests from who does not read answers."""
        events = WRITE if self._unsent else 0
        if self.reading and self._unsent_bytes <= self._pause_above:
            events |= READ
        if events == self._watched:
            return
        if not events:  # the kernel would tell of a peer's end again and again
            self._loop.forget(self._socket)
        elif not self._watched:
            self._loop.watch(self._socket, events, self._ready)
        else:
            self._loop.change(self._socket, events, self._ready)
        self._watched = events


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
