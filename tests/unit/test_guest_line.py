"""A line that is a terminal, or a socket: bytes as they are, and an end that is told once."""

import contextlib
import os
import pty
import socket
import tty

from keyiso import limits
from keyiso.guest.line import Line
from keyiso.server.loop import Loop
from tests.unit.playing import Script, Until, is_open, play, rounds

EVERY_BYTE = bytes(range(256))


class End:
    """A line, and what happened to it."""

    def __init__(self, loop: Loop, descriptor: int) -> None:
        self.received = b""
        self.drained = self.closed = 0
        self.line = Line(
            loop, descriptor, received=self._received, drained=self._drained, closed=self._closed
        )

    def _received(self, data: bytes) -> None:
        self.received += data

    def _drained(self) -> None:
        self.drained += 1

    def _closed(self) -> None:
        self.closed += 1


def test_a_terminal_changes_nothing(loop: Loop) -> None:
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    end, other = End(loop, theirs), End(loop, ours)

    def script() -> Script:
        end.line.write(EVERY_BYTE)
        other.line.write(EVERY_BYTE)
        yield from Until(lambda: len(end.received) == len(other.received) == len(EVERY_BYTE))
        other.line.close()
        yield from Until(lambda: end.closed)

    play(loop, script())

    assert end.received == other.received == EVERY_BYTE
    assert (end.closed, other.closed) == (1, 0)
    assert not is_open(theirs)


def test_what_waits_is_sent_when_the_other_end_reads(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    peer.setblocking(False)
    end = End(loop, ours.detach())
    data = os.urandom(limits.MUX_PAUSE_BYTES + 1_000_000)
    got = bytearray()

    def script() -> Script:
        end.line.write(data[:1000])
        assert end.line.idle
        end.line.write(data[1000:])
        assert end.line.congested
        yield from rounds(3)
        while len(got) < len(data):
            with contextlib.suppress(BlockingIOError):
                got.extend(peer.recv(1 << 20))
            yield
        yield from rounds(2)

    play(loop, script())

    assert got == data
    assert end.drained == 1
    assert end.line.idle
    end.line.close()
    peer.close()


def test_a_line_that_nobody_reads_is_given_up(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    end = End(loop, ours.detach())
    for _ in range(limits.MUX_UNSENT_BYTES // limits.MUX_PAUSE_BYTES + 2):
        end.line.write(bytes(limits.MUX_PAUSE_BYTES))

    assert end.closed == 1
    peer.close()
