"""A socket in a loop: writing that waits, descriptors, and peers that do not read."""

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyiso import limits
from keyiso.server.loop import WRITE, Loop, Ready
from keyiso.server.stream import Stream
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import (
    Script,
    Until,
    is_open,
    nothing_left_open,
    open_descriptors,
    play,
    rounds,
)

SMALL_BUFFER = 4096


class End:
    """A stream with the other end of its connection, and what happened to it."""

    def __init__(self, loop: Loop, *, passes_descriptors: bool = False) -> None:
        ours, self.peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self.peer.setblocking(False)
        self.received = bytearray()
        self.drained = bytearray()
        self.closed = 0
        self.stream = Stream(
            loop,
            ours,
            received=self._received,
            closed=self._closed,
            passes_descriptors=passes_descriptors,
        )

    def _received(self, data: bytes) -> None:
        self.received += data

    def _closed(self) -> None:
        assert not self.stream.open
        self.closed += 1

    def read(self, size: int = 1 << 20) -> bytes:
        """What the peer can read now; an empty string at the end of the stream or for nothing."""
        try:
            return self.peer.recv(size)
        except BlockingIOError:
            return b""

    def drain(self, count: int) -> Iterator[None]:
        """Have the peer read until it has so many bytes in all."""
        while len(self.drained) < count:
            self.drained += self.read()
            yield

    def __enter__(self) -> "End":
        return self

    def __exit__(self, *error: object) -> None:
        self.stream.close()
        self.peer.close()


@pytest.fixture
def end(loop: Loop) -> Iterator[End]:
    with End(loop) as made:
        yield made


@pytest.fixture
def passing(loop: Loop) -> Iterator[End]:
    """A stream that takes descriptors."""
    with End(loop, passes_descriptors=True) as made:
        yield made


def new_descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY)


def pattern(size: int) -> bytes:
    """Bytes of which each place can be told from others."""
    return b"".join(struct.pack("<I", number) for number in range(size // 4))


# --- reading and writing -----------------------------------------------------------------------


def test_bytes_arrive_in_their_order(loop: Loop, end: End) -> None:
    def script() -> Script:
        for piece in (b"one ", b"two ", b"three"):
            end.peer.send(piece)
            yield from rounds(2)

    play(loop, script())

    assert end.received == b"one two three"
    assert end.closed == 0


def test_one_read_takes_no_more_than_its_share(loop: Loop, end: End) -> None:
    """A peer that sends a lot costs the others one share at a time."""
    end.peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    data = pattern(3 * limits.READ_BYTES)

    def script() -> Script:
        sent = 0
        while len(end.received) < len(data):
            before = len(end.received)
            if sent < len(data):
                with contextlib.suppress(BlockingIOError):
                    sent += end.peer.send(data[sent:])
            yield
            assert len(end.received) - before <= limits.READ_BYTES

    play(loop, script())

    assert end.received == data


def test_what_fits_is_sent_at_once(end: End) -> None:
    """No round of the loop is needed for an answer that is short."""
    end.stream.write(b"answer")

    assert end.read() == b"answer"


def test_what_does_not_fit_is_sent_when_the_peer_reads(loop: Loop, end: End) -> None:
    data = pattern(400_000)

    def script() -> Script:
        end.stream.write(data)
        yield from rounds(3)
        assert end.stream.open
        yield from end.drain(len(data))

    play(loop, script())

    assert end.drained == data


def test_writes_keep_their_order_while_some_wait(loop: Loop, end: End) -> None:
    data = pattern(100_000)
    pieces = [data[start : start + 777] for start in range(0, len(data), 777)]

    def script() -> Script:
        for piece in pieces[:100]:
            end.stream.write(piece)
        drain = end.drain(len(data))
        for piece in pieces[100:]:
            end.stream.write(piece)
            next(drain, None)
            yield
        yield from drain

    play(loop, script())

    assert end.drained == data


def test_nothing_is_written_for_an_empty_write(loop: Loop, end: End) -> None:
    def script() -> Script:
        end.stream.write(b"")
        yield from rounds(2)

    play(loop, script())

    assert end.read() == b""
    assert end.stream.open


# --- the end -----------------------------------------------------------------------------------


class CountingLoop(Loop):
    """Counts how often it told anybody of anything."""

    told = 0

    def watch(self, what: Any, events: int, ready: Ready) -> None:
        super().watch(what, events, self._counted(ready))

    def change(self, what: Any, events: int, ready: Ready) -> None:
        super().change(what, events, self._counted(ready))

    def _counted(self, ready: Ready) -> Ready:
        def count(events: int) -> None:
            self.told += 1
            ready(events)

        return count


def test_the_end_of_a_peer_that_is_not_read_costs_nothing_until_it_is() -> None:
    loop = CountingLoop(FakeClock())
    with End(loop) as end:

        def script() -> Script:
            end.peer.send(b"last words")
            end.stream.read(False)
            end.peer.close()
            yield
            before = loop.told
            yield from rounds(10)
            assert loop.told == before + 10  # the script alone
            end.stream.read(True)
            yield from rounds(4)

        play(loop, script())

        assert end.received == b"last words"
        assert end.closed == 1
    loop.close()


def test_the_end_of_the_peer_is_noticed_once(loop: Loop, end: End) -> None:
    def script() -> Script:
        end.peer.send(b"last words")
        end.peer.close()
        yield from rounds(4)
        end.stream.close()

    play(loop, script())

    assert end.received == b"last words"
    assert end.closed == 1


def test_writing_to_a_peer_that_has_gone_ends_the_stream_quietly(loop: Loop, end: End) -> None:
    def script() -> Script:
        end.peer.close()
        end.stream.write(b"too late")
        yield from rounds(3)
        end.stream.write(b"later still")

    play(loop, script())

    assert end.closed == 1
    assert not end.stream.open


def test_closing_ends_the_connection_for_the_peer(loop: Loop, end: End) -> None:
    end.stream.close()
    end.stream.close()

    assert end.closed == 1
    end.peer.setblocking(True)
    assert end.peer.recv(10) == b""


def test_a_stream_may_be_closed_while_it_is_told_of_bytes(loop: Loop) -> None:
    ours, peer = socket.socketpair()
    closed: list[str] = []
    stream = Stream(
        loop,
        ours,
        received=lambda data: stream.close(),
        closed=lambda: closed.append("once"),
    )

    def script() -> Script:
        peer.send(b"x")
        yield from rounds(3)

    play(loop, script())
    peer.close()

    assert closed == ["once"]


def test_a_stream_that_was_closed_in_the_same_round_ignores_its_events(
    loop: Loop, end: End
) -> None:
    """Two connections are ready at once, and what came on the first ends the second."""
    ours, other = socket.socketpair()
    actions: list[Callable[[], None]] = []

    def ready(events: int) -> None:
        if actions:
            actions.pop(0)()

    def script() -> Script:
        loop.watch(ours, WRITE, ready)  # in every round, and before what gets ready later
        end.stream.write(pattern(limits.SEND_PAUSE_BYTES))
        yield from rounds(3)
        end.peer.send(b"x")
        end.read()  # from the next round on the second one is ready for both
        actions.extend([lambda: None, end.stream.close])
        yield from rounds(3)
        assert actions == []
        loop.forget(ours)

    with ours, other:
        play(loop, script())

    assert end.closed == 1
    assert end.received == b""


# --- slow readers ------------------------------------------------------------------------------


def test_no_more_requests_are_read_from_who_does_not_read_answers(loop: Loop, end: End) -> None:
    data = pattern(limits.SEND_PAUSE_BYTES + 100_000)

    def script() -> Script:
        end.stream.write(data)
        end.peer.send(b"another request")
        yield from rounds(5)
        assert end.received == b""
        assert end.stream.open
        yield from end.drain(len(data))
        yield from Until(lambda: end.received)

    play(loop, script())

    assert end.received == b"another request"
    assert end.drained == data


def test_requests_are_read_while_little_is_unsent(loop: Loop, end: End) -> None:
    def script() -> Script:
        end.stream.write(bytes(limits.SEND_PAUSE_BYTES))
        end.peer.send(b"another request")
        yield from rounds(3)

    play(loop, script())

    assert end.received == b"another request"


def test_a_peer_that_never_reads_is_dropped(loop: Loop, end: End) -> None:
    """Before what is kept for it takes more than its share of memory."""
    written = 0

    def script() -> Script:
        nonlocal written
        while end.stream.open:
            end.stream.write(bytes(limits.CONTROL_FRAME_BYTES))
            written += limits.CONTROL_FRAME_BYTES
            assert written <= limits.SEND_BUFFER_BYTES + 2 * limits.CONTROL_FRAME_BYTES
            yield

    play(loop, script())

    assert written > limits.SEND_BUFFER_BYTES
    assert end.closed == 1


def test_bytes_that_were_sent_do_not_count_against_the_peer(loop: Loop, end: End) -> None:
    """A peer that reads gets more, in the long run, than is ever kept for it."""
    total = 3 * limits.SEND_BUFFER_BYTES

    def script() -> Script:
        for count in range(0, total, limits.CONTROL_FRAME_BYTES):
            end.stream.write(bytes(limits.CONTROL_FRAME_BYTES))
            yield from end.drain(count + limits.CONTROL_FRAME_BYTES)

    play(loop, script())

    assert end.stream.open
    assert end.closed == 0


# --- descriptors -------------------------------------------------------------------------------


def test_a_descriptor_goes_with_its_bytes_and_is_closed_here(end: End) -> None:
    sent = new_descriptor()
    inode = os.fstat(sent).st_ino
    end.stream.write(b"here it is", (sent,))
    assert not is_open(sent)
    data, received, _, _ = socket.recv_fds(end.peer, 100, 4)

    assert data == b"here it is"
    assert [os.fstat(one).st_ino for one in received] == [inode]
    for one in received:
        os.close(one)


def test_a_descriptor_waits_its_turn(loop: Loop, end: End) -> None:
    """It arrives with the bytes that it belongs to, behind all that was written before."""
    before = pattern(200_000)
    descriptors_before = open_descriptors()
    sent = new_descriptor()
    arrived: list[tuple[int, list[int]]] = []
    data = bytearray()

    def script() -> Script:
        end.stream.write(before)
        end.stream.write(b"with", (sent,))
        end.stream.write(b"after")
        assert is_open(sent)
        while len(data) < len(before) + 9:
            try:
                piece, descriptors, _, _ = socket.recv_fds(end.peer, 1000, 4)
            except BlockingIOError:
                piece, descriptors = b"", []
            if descriptors:
                arrived.append((len(data), descriptors))
            data.extend(piece)
            yield

    play(loop, script())
    ((place, received),) = arrived

    assert data == before + b"withafter"
    assert len(before) - 1000 < place <= len(before)
    assert open_descriptors() - descriptors_before == set(received)
    for one in received:
        os.close(one)


def test_descriptors_that_never_went_are_closed_with_the_stream(loop: Loop, end: End) -> None:
    sent = new_descriptor()

    def script() -> Script:
        end.stream.write(pattern(400_000))
        end.stream.write(b"with", (sent,))
        yield
        assert is_open(sent)
        end.stream.close()

    play(loop, script())

    assert not is_open(sent)


def test_descriptors_for_a_stream_that_has_ended_are_closed(loop: Loop, end: End) -> None:
    sent = new_descriptor()
    end.stream.close()
    end.stream.write(b"with", (sent,))

    assert not is_open(sent)


def test_descriptors_for_a_peer_that_has_gone_are_closed(loop: Loop, end: End) -> None:
    sent = new_descriptor()
    end.peer.close()
    end.stream.write(b"with", (sent,))

    assert not is_open(sent)
    assert end.closed == 1


def test_descriptors_that_came_wait_in_their_order(loop: Loop, passing: End) -> None:
    read_end, write_end = os.pipe()
    inodes = [os.fstat(write_end).st_ino, os.stat(os.devnull).st_ino]

    def script() -> Script:
        socket.send_fds(passing.peer, [b"first"], [write_end])
        null = new_descriptor()
        socket.send_fds(passing.peer, [b"second"], [null])
        os.close(null)
        yield from rounds(3)

    play(loop, script())
    os.close(read_end)
    os.close(write_end)

    assert passing.received == b"firstsecond"
    assert [os.fstat(one).st_ino for one in passing.stream.descriptors] == inodes
    assert all(
        fcntl.fcntl(one, fcntl.F_GETFD) & fcntl.FD_CLOEXEC for one in passing.stream.descriptors
    )


def test_descriptors_that_nobody_took_are_closed_with_the_stream(loop: Loop, passing: End) -> None:
    null = new_descriptor()

    def script() -> Script:
        before = open_descriptors()
        socket.send_fds(passing.peer, [b"x"], [null] * limits.DESCRIPTORS_PER_MESSAGE)
        yield from rounds(2)
        assert len(open_descriptors() - before) == limits.DESCRIPTORS_PER_MESSAGE
        passing.stream.close()
        assert open_descriptors() <= before

    play(loop, script())
    os.close(null)


def test_a_peer_that_sends_too_many_descriptors_is_dropped(loop: Loop, passing: End) -> None:
    null = new_descriptor()

    def script() -> Script:
        before = open_descriptors()
        for _ in range(limits.DESCRIPTORS_PER_MESSAGE + 1):
            socket.send_fds(passing.peer, [b"x"], [null])
        yield from Until(lambda: not passing.stream.open)
        assert open_descriptors() <= before

    play(loop, script())
    os.close(null)

    assert passing.closed == 1


def test_descriptors_are_not_even_taken_where_none_are_expected(loop: Loop, end: End) -> None:
    """A client cannot fill a service with descriptors."""
    null = new_descriptor()

    def script() -> Script:
        before = open_descriptors()
        socket.send_fds(end.peer, [b"x"], [null])
        yield from rounds(2)
        assert open_descriptors() <= before

    play(loop, script())
    os.close(null)

    assert end.received == b"x"
    assert not end.stream.descriptors


def test_a_stream_leaves_nothing_open() -> None:
    with nothing_left_open():
        loop = Loop(FakeClock())
        with End(loop, passes_descriptors=True) as end:
            end.stream.write(pattern(400_000), (new_descriptor(),))
        loop.close()
