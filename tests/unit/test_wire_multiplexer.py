"""Many streams over one line, whose bytes are carried by hand."""

import os
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyiso import limits
from keyiso.wire.multiplexer import VERSION, Came, Ended, Event, Multiplexer, Opened, Side, Writable
from keyiso.wire.session import LocalProtocolError, RemoteProtocolError

WINDOW = limits.MUX_WINDOW_BYTES
HELLO = struct.Struct("<16sB16s16s")
DATA, CREDIT, END = 4, 5, 6


class Pair:
    """Both sides, and what they heard."""

    def __init__(self) -> None:
        self.inside, self.outside = Multiplexer(Side.INSIDE), Multiplexer(Side.OUTSIDE)
        self.heard_inside: list[Event] = []
        self.heard_outside: list[Event] = []

    def carry(self) -> None:
        """Until there is nothing more to carry."""
        while True:
            outwards, inwards = self.inside.output(), self.outside.output()
            if not outwards + inwards:
                return
            self.heard_outside += self.outside.receive(outwards)
            self.heard_inside += self.inside.receive(inwards)

    def outside_got(self, stream: int) -> bytes:
        return b"".join(
            one.data for one in self.heard_outside if isinstance(one, Came) and one.stream == stream
        )


@pytest.fixture
def pair() -> Pair:
    made = Pair()
    made.carry()
    return made


def frame(kind: int, stream: int, body: bytes = b"") -> bytes:
    return struct.pack("<BIH", kind, stream, len(body)) + body


def test_two_sides_that_begin_are_ready_soon_and_silent_then(pair: Pair) -> None:
    assert pair.inside.ready and pair.outside.ready
    assert pair.inside.output() == pair.outside.output() == b""


def test_nothing_is_opened_before_the_other_side_has_answered() -> None:
    with pytest.raises(LocalProtocolError):
        Multiplexer(Side.INSIDE).open()


def test_bytes_go_both_ways_and_a_channel_names_where_it_came_over(pair: Pair) -> None:
    stream = pair.inside.open()
    pair.inside.send(stream, b"attach")
    pair.carry()
    channel = pair.outside.open(stream)
    pair.outside.send(stream, b"attached")
    pair.outside.send(channel, b"welcome")
    pair.carry()

    assert pair.heard_outside == [Opened(stream, None), Came(stream, b"attach")]
    assert pair.heard_inside == [
        Opened(channel, stream),
        Came(stream, b"attached"),
        Came(channel, b"welcome"),
    ]


def test_who_is_not_read_may_send_a_window_and_the_others_go_on(pair: Pair) -> None:
    slow, other = pair.inside.open(), pair.inside.open()
    sent = os.urandom(3 * WINDOW)
    pair.inside.send(slow, sent)
    pair.inside.send(other, b"other")
    pair.carry()

    assert pair.outside_got(slow) == sent[:WINDOW]
    assert pair.outside_got(other) == b"other"
    assert (pair.inside.may_send(slow), pair.inside.may_send(other)) == (False, True)

    for _ in range(2):
        pair.outside.taken(slow, WINDOW)
        pair.carry()
    assert pair.outside_got(slow) == sent
    assert not pair.inside.may_send(slow)

    pair.outside.taken(slow, WINDOW)
    pair.carry()
    assert pair.heard_inside == [Writable(slow)]
    assert pair.inside.may_send(slow)


def test_a_stream_ends_after_what_was_sent_on_it(pair: Pair) -> None:
    stream = pair.inside.open()
    pair.inside.send(stream, bytes(WINDOW + 1))
    pair.inside.end(stream)
    pair.carry()
    assert Ended(stream) not in pair.heard_outside
    assert pair.inside.streams == 1

    pair.outside.taken(stream, WINDOW)
    pair.carry()
    assert len(pair.outside_got(stream)) == WINDOW + 1
    assert pair.heard_outside[-1] == Ended(stream)
    assert pair.inside.streams == pair.outside.streams == 0


def test_what_crosses_the_end_of_a_stream_is_ignored(pair: Pair) -> None:
    stream = pair.inside.open()
    pair.carry()
    pair.inside.end(stream)
    pair.outside.send(stream, b"late")
    pair.outside.end(stream)
    pair.carry()

    assert pair.heard_inside == []
    assert pair.inside.streams == pair.outside.streams == 0


def test_there_are_no_more_streams_than_the_limit_says(pair: Pair) -> None:
    for _ in range(limits.MUX_STREAMS):
        pair.inside.open()
    pair.carry()
    with pytest.raises(LocalProtocolError):
        pair.inside.open()
    with pytest.raises(RemoteProtocolError, match="MUX_STREAMS"):
        pair.outside.receive(frame(2, 2 * limits.MUX_STREAMS + 1, bytes(4)))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"\xff" * 7, id="no frame"),
        pytest.param(frame(9, 1), id="an unknown kind"),
        pytest.param(frame(DATA, 5, b"x"), id="a stream that never was"),
        pytest.param(frame(DATA, 0, b"x"), id="stream 0"),
        pytest.param(frame(2, 5, bytes(4)), id="a stream out of turn"),
        pytest.param(frame(2, 2, bytes(4)), id="a stream of ours"),
        pytest.param(frame(2, 3, bytes(3)), id="a short number"),
        pytest.param(frame(3, 3, bytes(4)), id="a channel from inside"),
        pytest.param(frame(CREDIT, 1, struct.pack("<I", 1)), id="credit for nothing"),
        pytest.param(frame(END, 1, b"x"), id="an end with something in it"),
        pytest.param(struct.pack("<BIH", DATA, 1, limits.MUX_FRAME_BYTES + 1), id="a long frame"),
        pytest.param(
            17 * frame(DATA, 1, bytes(limits.MUX_FRAME_BYTES)), id="too much for a window"
        ),
        pytest.param(frame(1, 0, b"x"), id="no hello"),
    ],
)
def test_damage_is_noticed(pair: Pair, damage: bytes) -> None:
    pair.inside.open()
    pair.carry()

    with pytest.raises(RemoteProtocolError):
        pair.outside.receive(damage)


@pytest.mark.parametrize("rubbish", range(256), ids=str)
def test_a_byte_too_many_is_noticed_with_the_next_frame(pair: Pair, rubbish: int) -> None:
    """And not when all has come that the byte and what follows it seem to announce."""
    stream = pair.inside.open()
    pair.carry()
    pair.inside.send(stream, b"request")

    with pytest.raises(RemoteProtocolError):
        pair.outside.receive(bytes([rubbish]) + pair.inside.output())


@pytest.mark.parametrize("kind", range(256), ids=str)
def test_a_stream_that_there_never_was_is_noticed_before_its_bytes_have_come(
    pair: Pair, kind: int
) -> None:
    with pytest.raises(RemoteProtocolError):
        pair.outside.receive(struct.pack("<BIH", kind, 5, limits.MUX_FRAME_BYTES))


def test_another_version_is_named() -> None:
    hello = HELLO.pack(b"keyiso streams\r\n", VERSION + 1, b"n" * 16, bytes(16))

    with pytest.raises(RemoteProtocolError, match=f"version {VERSION + 1}"):
        Multiplexer(Side.INSIDE).receive(b"anything" + hello)


def test_what_one_side_hears_of_itself_is_no_answer() -> None:
    alone = Multiplexer(Side.INSIDE)
    alone.receive(alone.output())

    assert not alone.ready


@pytest.mark.parametrize("cut", [1, 3, 7, 8, 100, limits.MUX_FRAME_BYTES, -1])
def test_a_side_that_begins_anew_is_noticed_wherever_a_frame_was_cut_off(
    pair: Pair, cut: int
) -> None:
    stream = pair.inside.open()
    pair.carry()
    pair.inside.send(stream, bytes(limits.MUX_FRAME_BYTES))
    pair.outside.receive(pair.inside.output()[:cut])

    pair.inside = Multiplexer(Side.INSIDE)
    with pytest.raises(RemoteProtocolError):
        pair.outside.receive(pair.inside.output())

    pair.outside = Multiplexer(Side.OUTSIDE)
    pair.carry()
    assert pair.inside.ready and pair.outside.ready


def test_a_hello_in_the_bytes_of_a_stream_is_only_bytes(pair: Pair) -> None:
    stream = pair.inside.open()
    hello = HELLO.pack(b"keyiso streams\r\n", VERSION, b"n" * 16, bytes(16))
    pair.inside.send(stream, hello)
    pair.carry()

    assert pair.outside_got(stream) == hello


def test_an_old_hello_makes_nobody_ready() -> None:
    old = Pair()
    old.carry()
    recorded = Multiplexer(Side.OUTSIDE)
    recorded.receive(old.inside.output())
    new = Multiplexer(Side.INSIDE)
    new.receive(recorded.output())
    new.receive(HELLO.pack(b"keyiso streams\r\n", VERSION, b"n" * 16, b"o" * 16))

    assert not new.ready


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 1 << 32))
def test_whatever_two_sides_do_arrives_in_order_however_it_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    sides = {side: Multiplexer(side) for side in Side}
    lines = {side: bytearray() for side in Side}
    sent: dict[tuple[Side, int], bytes] = {}
    got: dict[tuple[Side, int], bytes] = {}
    untaken: dict[tuple[Side, int], int] = {}

    def deliver(side: Side, size: int) -> None:
        other = Side(3 - side)
        lines[side] += sides[side].output()
        data = bytes(lines[side][:size])
        del lines[side][:size]
        for event in sides[other].receive(data):
            if isinstance(event, Came):
                got[side, event.stream] = got.get((side, event.stream), b"") + event.data
                untaken[other, event.stream] = untaken.get((other, event.stream), 0) + len(
                    event.data
                )

    def take(side: Side) -> None:
        for (where, stream), count in list(untaken.items()):
            if where is side:
                sides[side].taken(stream, count)
                del untaken[where, stream]

    for _ in range(3):
        deliver(Side.INSIDE, 1 << 30)
        deliver(Side.OUTSIDE, 1 << 30)
    control = sides[Side.INSIDE].open()
    deliver(Side.INSIDE, 1 << 30)
    streams = [control]
    for _ in range(200):
        side = rng.choice(list(Side))
        mux = sides[side]
        action = rng.randrange(10)
        if action == 0:
            streams.append(mux.open(control))
        elif action < 4:
            stream = rng.choice(streams)
            if mux.may_send(stream):
                data = rng.randbytes(rng.choice([1, 100, 9000, WINDOW]))
                mux.send(stream, data)
                sent[side, stream] = sent.get((side, stream), b"") + data
        elif action == 4:
            take(side)
        else:
            deliver(side, rng.choice([1, 10, 5000, 1 << 20]))
    for _ in range(20):
        for side in Side:
            deliver(side, 1 << 30)
            take(side)

    assert got == sent
