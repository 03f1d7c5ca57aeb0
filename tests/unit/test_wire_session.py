"""The wire: a client's and a server's session, whose bytes are carried by hand.

After h11's tests: what one side sends, the other has to receive, however the bytes are cut.
"""

import enum
import struct
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyiso import limits
from keyiso.crypto.key_header import AccessEntry, KeyHeader
from keyiso.crypto.signatures import Padding
from keyiso.errors import Hop, NCryptError
from keyiso.status import Status
from keyiso.wire.channel import ChannelOperation, Ping, Release, Sign
from keyiso.wire.control import ReleaseEphemeral
from keyiso.wire.messages import (
    OLDEST_VERSION,
    PROTOCOL_VERSION,
    Call,
    Failure,
    Hello,
    Message,
    Operation,
    Refusal,
    Result,
    Return,
    Span,
    Welcome,
    result_of,
    returned,
)
from keyiso.wire.results import Done
from keyiso.wire.session import (
    OUTSTANDING_CALLS,
    TRANSITIONS,
    Direction,
    LocalProtocolError,
    RemoteProtocolError,
    Role,
    Session,
    State,
    client_decoder,
    server_decoder,
)
from tests.unit.samples import OPERATIONS, UNIONS, hops, result_type, structs

CLIENT, SERVER = Role.CLIENT, Role.SERVER
OTHER = {CLIENT: SERVER, SERVER: CLIENT}

THE_TABLE = """
client  start     sends     Hello    greeting
client  greeting  receives  Welcome  ready
client  greeting  receives  Refusal  refused
client  ready     sends     Call     ready
client  ready     receives  Return   ready
client  ready     receives  Failure  ready
client  ready     receives  Refusal  refused
server  start     receives  Hello    greeting
server  start     sends     Refusal  refused
server  greeting  sends     Welcome  ready
server  greeting  sends     Refusal  refused
server  ready     receives  Call     ready
server  ready     sends     Return   ready
server  ready     sends     Failure  ready
server  ready     sends     Refusal  refused
server  broken    sends     Refusal  broken
"""
"""What each side may send and receive in each state, and the state that follows."""

EXPECTED = {tuple(line.split()[:4]): State(line.split()[4]) for line in THE_TABLE.split("\n")[1:-1]}

KINDS: dict[str, Message] = {
    "Hello": Hello(OLDEST_VERSION, PROTOCOL_VERSION, "test"),
    "Welcome": Welcome(PROTOCOL_VERSION, "test", b"i" * 16, b"b" * 16, 4711),
    "Call": Call(2, Ping()),
    "Return": Return(1, msgspec.Raw(msgspec.msgpack.encode(Done()))),
    "Failure": Failure(1, Status.NTE_FAIL, "cause", "action", hops(2)),
    "Refusal": Refusal(Status.NTE_PERM, "cause", "action"),
}
"""One message of every kind. Call 1 is outstanding where an answer is possible."""


def no_random(count: int) -> bytes:
    return b"\xaa" * count


def new_session(
    role: Role, operations: Any = ChannelOperation, frame_bytes: int = limits.KEY_FRAME_BYTES
) -> Session:
    decoder = client_decoder() if role is CLIENT else server_decoder(operations)
    return Session(role, decoder, frame_bytes=frame_bytes, random=no_random)


def frame(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body


def encoded(message: object) -> bytes:
    """A message as any peer might send it, whatever its state."""
    return frame(msgspec.msgpack.encode(message))


class Cut(enum.Enum):
    """How the bytes of a stream arrive."""

    WHOLE = "whole"
    BYTES = "byte by byte"
    SEVENS = "by seven bytes"

    def pieces(self, data: bytes) -> Iterable[bytes]:
        size = {Cut.WHOLE: max(1, len(data)), Cut.BYTES: 1, Cut.SEVENS: 7}[self]
        return (data[start : start + size] for start in range(0, len(data), size))


class Pair:
    """A client and a server."""

    def __init__(
        self,
        cut: Cut = Cut.WHOLE,
        operations: Any = ChannelOperation,
        frame_bytes: int = limits.KEY_FRAME_BYTES,
    ) -> None:
        self.cut = cut
        self.client = new_session(CLIENT, operations, frame_bytes)
        self.server = new_session(SERVER, operations, frame_bytes)

    def deliver(self, role: Role, data: bytes) -> list[Message]:
        """Have a side receive bytes."""
        receiver = self.client if role is CLIENT else self.server
        return [message for piece in self.cut.pieces(data) for message in receiver.receive(piece)]

    def send(self, role: Role, *sent: Message) -> list[Message]:
        """Have a side send messages; returns what the other one receives."""
        sender = self.client if role is CLIENT else self.server
        return self.deliver(OTHER[role], b"".join(map(sender.send, sent)))

    def greet(self) -> "Pair":
        """Say hello and welcome."""
        (hello,) = self.deliver(SERVER, self.client.hello("test"))
        assert isinstance(hello, Hello)
        self.deliver(CLIENT, welcome(self.server, hello))
        assert self.states == (State.READY, State.READY)
        return self

    @property
    def states(self) -> tuple[State, State]:
        return self.client.state, self.server.state


def welcome(server: Session, hello: Hello) -> bytes:
    return server.welcome(hello, service="test", instance_id=b"i" * 16, boot_id=b"b" * 16, pid=4711)


@pytest.fixture(params=Cut, ids=lambda cut: cut.value)
def pair(request: pytest.FixtureRequest) -> Pair:
    """A client and a server that have not spoken yet."""
    return Pair(request.param)


@pytest.fixture
def ready(pair: Pair) -> Pair:
    """A client and a server that have greeted each other."""
    return pair.greet()


# --- greeting ----------------------------------------------------------------------------------


def test_hello_and_welcome_tell_who_is_there(pair: Pair) -> None:
    (hello,) = pair.deliver(SERVER, pair.client.hello("application", ("one", "two")))
    assert isinstance(hello, Hello)
    data = pair.server.welcome(
        hello, service="keyiso", instance_id=b"i" * 16, boot_id=b"b" * 16, pid=7, features=("x",)
    )
    (welcomed,) = pair.deliver(CLIENT, data)

    assert hello == Hello(OLDEST_VERSION, PROTOCOL_VERSION, "application", ("one", "two"))
    assert welcomed == Welcome(PROTOCOL_VERSION, "keyiso", b"i" * 16, b"b" * 16, 7, ("x",))
    assert (pair.client.version, pair.server.version) == (PROTOCOL_VERSION, PROTOCOL_VERSION)


def test_hello_and_welcome_carry_grease_that_nobody_knows(pair: Pair) -> None:
    """A peer that chokes on a field it does not know is found today, not in the next version."""
    data = pair.client.hello("test")
    (hello,) = pair.deliver(SERVER, data)
    assert isinstance(hello, Hello)
    answer = welcome(pair.server, hello)

    for sent, kind in ((data, Hello), (answer, Welcome)):
        _, *fields = msgspec.msgpack.decode(sent[4:])
        assert len(fields) == len(kind.__struct_fields__) + 1
        assert fields[-1] == no_random(3)
    assert pair.deliver(CLIENT, answer)


@pytest.mark.parametrize(
    ("oldest", "newest"),
    [(1, 1), (1, 2), (0, 1), (-5, 99)],
)
def test_a_client_that_speaks_our_version_among_others_is_welcome(
    pair: Pair, oldest: int, newest: int
) -> None:
    (hello,) = pair.send(CLIENT, Hello(oldest, newest, "test"))
    assert isinstance(hello, Hello)
    pair.deliver(CLIENT, welcome(pair.server, hello))

    assert pair.states == (State.READY, State.READY)


@pytest.mark.parametrize(("oldest", "newest"), [(2, 9), (2, 2), (0, 0), (-1, 0), (5, 1)])
def test_a_client_of_another_version_is_refused_with_both_versions(
    pair: Pair, oldest: int, newest: int
) -> None:
    (hello,) = pair.send(CLIENT, Hello(oldest, newest, "test"))
    assert isinstance(hello, Hello)
    (refusal,) = pair.deliver(CLIENT, welcome(pair.server, hello))

    assert isinstance(refusal, Refusal)
    assert refusal.status == Status.KEYISO_E_PROTOCOL
    assert f"{oldest} to {newest}" in refusal.cause
    assert f"{OLDEST_VERSION} to {PROTOCOL_VERSION}" in refusal.cause
    assert refusal.action
    assert pair.states == (State.REFUSED, State.REFUSED)


@pytest.mark.parametrize("version", [0, 2, -1, 2**63])
def test_a_server_that_chooses_a_version_we_did_not_offer_breaks_the_protocol(version: int) -> None:
    client = new_session(CLIENT)
    client.hello("test")

    with pytest.raises(RemoteProtocolError, match=f"version {version}"):
        client.receive(encoded(Welcome(version, "test", b"", b"", 1)))
    assert client.state is State.BROKEN
    assert client.version == 0


# --- every message -----------------------------------------------------------------------------


def test_every_operation_belongs_to_a_kind_of_connection() -> None:
    assert {operation for _, operation in OPERATIONS} == set(Operation.__subclasses__())


NUMBERS = {
    "messages": "Hello Welcome Call Return Failure Refusal",
    "control": (
        "Bind Attach OpenKey OpenEphemeral FindKey CreateKey GetImportKey ImportKey DeleteKey"
        " ReleaseEphemeral EnumKeys GetServiceStatus SetProperty GetProperty SetAccess AwaitChange"
        " GetIsolation _ _ ReportProviderFailure SetEventChannel GetEventChannels"
        " GetBindings MakePinKey EnrolPin AttemptPin ChangePin ResetPin GetContainer"
        " SetResetKey RequestReset UnlockPin _ _ ResealKeys"
    ),
    "passport service": (
        "Bind _ _ _ FindKey CreateKey _ _ DeleteKey _ EnumKeys _ SetProperty GetProperty SetAccess"
        " _ _ _ _ _ _ _ _ _ EnrolPin AttemptPin ChangePin ResetPin GetContainer"
        " _ _ UnlockPin _ SignHash"
    ),
    "container service": (
        "_ _ _ _ FindKey CreateKey _ _ DeleteKey _ EnumKeys _ SetProperty GetProperty SetAccess"
        " _ _ _ _ _ _ _ _ _ EnrolPin AttemptPin ChangePin ResetPin GetContainer"
        " _ _ UnlockPin BindFor SignHash"
    ),
    "served": (
        "_ Attach OpenKey _ FindKey CreateKey _ _ DeleteKey _ EnumKeys _ SetProperty GetProperty"
        " SetAccess _ _ _ _ _ _ _ _ _ EnrolPin AttemptPin ChangePin ResetPin GetContainer"
        " _ _ UnlockPin BindFor"
    ),
    "channel": "Ping Sign Release Decrypt Derive Encipher Decipher ExportPrivate SignBatch",
    "link": (
        "AddChannel Load Generate Import GetWorkerImportKey Revoke GetWorkerStatus Authenticate"
        " RenewLease SealProperty OpenProperty ChangeAccess TakeUses GetWorkerIsolation"
        " GetChannels Reseal ResealProperty _ _ _ _ _ _ MakePinKey EnrolPin AttemptPin ChangePin"
        " ResetPin GetContainer SetResetKey RequestReset UnlockPin"
    ),
    "pair": "ShareRoots",
    "supervision": "GetSupervisorStatus Stop ReplacePairs StopService StartService",
}
"""What each number on the wire means, from 1; nothing has the number of a ``_``. A process that
was not restarted yet knows the old numbers, so none ever changes."""


def test_numbers_on_the_wire_keep_their_meaning() -> None:
    kinds: dict[str, list[type[msgspec.Struct]]] = {"messages": list(map(type, KINDS.values()))}
    for union, operation in OPERATIONS:
        kinds.setdefault(union, []).append(operation)
    numbers = {
        union: {kind.__name__: kind.__struct_config__.tag for kind in found}
        for union, found in kinds.items()
    }

    assert numbers == {
        union: {name: number for number, name in enumerate(names.split(), 1) if name != "_"}
        for union, names in NUMBERS.items()
    }


@pytest.mark.parametrize(
    "base",
    [Message, Operation, Result, Hop, Span, Padding, KeyHeader, AccessEntry],
    ids=lambda base: base.__name__,
)
def test_whatever_travels_is_a_frozen_array(base: type[msgspec.Struct]) -> None:
    """Arrays grow at their end; a message that was received stays what it was."""
    for kind in (base, *base.__subclasses__()):
        assert kind.__struct_config__.frozen, kind
        assert kind.__struct_config__.array_like, kind


def test_every_kind_of_message_is_in_the_table() -> None:
    assert {kind.__name__ for kind in Message.__subclasses__()} == set(KINDS)


@pytest.mark.parametrize(("union", "operation"), OPERATIONS)
@given(data=st.data())
@settings(max_examples=15)
def test_an_operation_and_its_result_arrive_as_they_were_sent(
    union: str, operation: type[Operation[Any]], data: st.DataObject
) -> None:
    cut = data.draw(st.sampled_from(Cut))
    pair = Pair(cut, UNIONS[union], limits.CONTROL_FRAME_BYTES).greet()
    asked = data.draw(structs(operation))
    result = data.draw(structs(result_type(operation)))
    call = Call(data.draw(st.integers(1, 2**64 - 1)), asked, "00-trace", hops(3))

    (received,) = pair.send(CLIENT, call)
    (answer,) = pair.send(SERVER, returned(call.call_id, result))

    assert isinstance(received, Call)
    assert received == call
    assert type(received.operation) is operation
    assert isinstance(answer, Return)
    assert result_of(asked, answer) == result


@given(failure=structs(Failure), cut=st.sampled_from(Cut))
@settings(max_examples=30)
def test_a_failure_arrives_as_it_was_sent(failure: Failure, cut: Cut) -> None:
    pair = Pair(cut).greet()
    failure = msgspec.structs.replace(failure, call_id=1, spans=())  # which are bounded
    pair.send(CLIENT, Call(1, Ping()))

    assert pair.send(SERVER, failure) == [failure]


@given(refusal=structs(Refusal), cut=st.sampled_from(Cut))
@settings(max_examples=30)
def test_a_refusal_arrives_as_it_was_sent(refusal: Refusal, cut: Cut) -> None:
    pair = Pair(cut).greet()

    assert pair.send(SERVER, refusal) == [refusal]
    assert pair.states == (State.REFUSED, State.REFUSED)


@given(hello=structs(Hello), welcomed=structs(Welcome), cut=st.sampled_from(Cut))
@settings(max_examples=30)
def test_a_greeting_arrives_as_it_was_sent(hello: Hello, welcomed: Welcome, cut: Cut) -> None:
    pair = Pair(cut)
    welcomed = msgspec.structs.replace(welcomed, version=PROTOCOL_VERSION)

    assert pair.send(CLIENT, hello) == [hello]
    assert pair.send(SERVER, welcomed) == [welcomed]


def test_a_result_is_decoded_as_what_was_asked_for() -> None:
    """Signatures for a ping would be a defect of the server, and are not taken for one."""
    with pytest.raises(msgspec.DecodeError):
        result_of(Sign(1, b"", Padding()), Return(1, msgspec.Raw(b"\xc0")))


# --- pipelining --------------------------------------------------------------------------------


def test_many_calls_go_in_one_write_and_are_answered_in_any_order(ready: Pair) -> None:
    calls = [Call(number, Release(number)) for number in range(1, 51)]
    answers = [returned(number, Done()) for number in range(50, 0, -1)]

    assert ready.send(CLIENT, *calls) == calls
    assert (ready.client.outstanding, ready.server.outstanding) == (50, 50)
    received = ready.send(SERVER, *answers)
    assert [answer.call_id for answer in received if isinstance(answer, Return)] == [
        *range(50, 0, -1)
    ]
    assert (ready.client.outstanding, ready.server.outstanding) == (0, 0)


def test_an_answer_is_heard_while_more_calls_are_under_way(ready: Pair) -> None:
    ready.send(CLIENT, Call(1, Ping()), Call(2, Ping()))
    ready.send(SERVER, KINDS["Failure"])
    ready.send(CLIENT, Call(1, Ping()))  # the id is free again
    ready.send(SERVER, returned(2, Done()), returned(1, Done()))

    assert (ready.client.outstanding, ready.server.outstanding) == (0, 0)


def test_hello_and_calls_may_not_share_a_write(pair: Pair) -> None:
    """Before the welcome nothing is agreed on, the version included."""
    data = pair.client.hello("test")

    with pytest.raises(RemoteProtocolError, match="Call came in state greeting"):
        pair.deliver(SERVER, data + encoded(Call(1, Ping())))


class Move(enum.Enum):
    CALL = 0
    RETURN = 1
    FAIL = 2


@given(data=st.data())
@settings(max_examples=60)
def test_any_conversation_is_heard_in_full_however_it_is_cut(data: st.DataObject) -> None:
    """Both sides write into a stream, of which the other one gets any piece at any time."""
    pair = Pair().greet()
    streams = {CLIENT: bytearray(), SERVER: bytearray()}
    sent: dict[Role, list[tuple[str, int]]] = {CLIENT: [], SERVER: []}
    heard: dict[Role, list[tuple[str, int]]] = {CLIENT: [], SERVER: []}
    waiting: set[int] = set()
    next_id = 0

    def deliver(role: Role, count: int) -> None:
        piece, streams[role][:count] = bytes(streams[role][:count]), b""
        for message in pair.deliver(OTHER[role], piece):
            call_id: int = message.call_id  # type: ignore[attr-defined]
            heard[role].append((type(message).__name__, call_id))
            if isinstance(message, Call):
                waiting.add(call_id)

    for _ in range(data.draw(st.integers(1, 25))):
        move = data.draw(
            st.sampled_from([Move.CALL, *([Move.RETURN, Move.FAIL] if waiting else [])])
        )
        message: Call[Sign] | Return | Failure
        if move is Move.CALL:
            next_id += 1
            role, message = CLIENT, Call(next_id, Sign(next_id, b"d" * 32, Padding()))
        else:
            answered = data.draw(st.sampled_from(sorted(waiting)))
            waiting.remove(answered)
            role, message = SERVER, returned(answered, Done())
            if move is Move.FAIL:
                message = Failure(answered, 1, "", "", ())
        session = pair.client if role is CLIENT else pair.server
        streams[role] += session.send(message)
        sent[role].append((type(message).__name__, message.call_id))
        for carried in (CLIENT, SERVER):
            deliver(carried, data.draw(st.integers(0, len(streams[carried]))))
    deliver(CLIENT, len(streams[CLIENT]))
    deliver(SERVER, len(streams[SERVER]))

    assert heard == sent
    assert pair.client.outstanding == pair.server.outstanding == len(waiting)
    assert not pair.client.half_sent
    assert not pair.server.half_sent


# --- the table ---------------------------------------------------------------------------------


def session_in(role: Role, state: State) -> Session:
    """A session that came to a state; call 1 is outstanding where there can be calls."""
    pair = Pair()
    session = pair.client if role is CLIENT else pair.server
    if state is State.BROKEN:
        with pytest.raises(RemoteProtocolError):
            session.receive(frame(b"\xc1"))
    elif state is State.GREETING:
        pair.deliver(SERVER, pair.client.hello("test"))
    elif state is State.READY:
        pair.greet()
        pair.send(CLIENT, Call(1, Ping()))
    elif state is State.REFUSED:
        (hello,) = pair.send(CLIENT, Hello(9, 9, "test"))
        assert isinstance(hello, Hello)
        pair.deliver(CLIENT, welcome(pair.server, hello))
    assert session.state is state
    return session


CELLS = [
    pytest.param(role, state, kind, id=f"{role.value} {state.value} {kind}")
    for role in Role
    for state in State
    for kind in KINDS
]


def test_the_table_is_the_one_that_is_documented() -> None:
    table = {
        (role.value, state.value, direction.value, kind.__name__): after
        for role, states in TRANSITIONS.items()
        for state, moves in states.items()
        for (direction, kind), after in moves.items()
    }

    assert table == EXPECTED
    assert all(set(states) == set(State) for states in TRANSITIONS.values())


@pytest.mark.parametrize(("role", "state", "kind"), CELLS)
def test_what_may_be_sent(role: Role, state: State, kind: str) -> None:
    session = session_in(role, state)
    outstanding = session.outstanding
    after = EXPECTED.get((role.value, state.value, Direction.SENT.value, kind))

    if after is None:
        with pytest.raises(LocalProtocolError, match=f"{kind} cannot be sent in state"):
            session.send(KINDS[kind])
        assert (session.state, session.outstanding) == (state, outstanding)
    else:
        assert session.send(KINDS[kind]) == encoded(KINDS[kind])
        assert session.state is after


@pytest.mark.parametrize(("role", "state", "kind"), CELLS)
def test_what_may_be_received(role: Role, state: State, kind: str) -> None:
    session = session_in(role, state)
    after = EXPECTED.get((role.value, state.value, Direction.RECEIVED.value, kind))

    if after is None:
        with pytest.raises(RemoteProtocolError):
            session.receive(encoded(KINDS[kind]))
        assert session.state is State.BROKEN
    else:
        assert session.receive(encoded(KINDS[kind])) == [KINDS[kind]]
        assert session.state is after


@pytest.mark.parametrize("role", Role)
def test_a_broken_session_stays_broken(role: Role) -> None:
    session = session_in(role, State.BROKEN)

    for data in (b"", b"\0", encoded(KINDS["Hello"]), encoded(KINDS["Welcome"])):
        with pytest.raises(RemoteProtocolError, match="already broken"):
            session.receive(data)
    assert session.state is State.BROKEN


@pytest.mark.parametrize("state", [State.START, State.GREETING, State.READY, State.BROKEN])
def test_a_server_can_always_say_why_it_goes(state: State) -> None:
    """Also to a peer that broke the protocol."""
    server = session_in(SERVER, state)

    assert server.send(KINDS["Refusal"])
    with pytest.raises(LocalProtocolError):
        server.send(KINDS["Return"])


@pytest.mark.parametrize("thing", ["text", Ping(), Message(), Result(), Hop("s", 1, "f")])
def test_only_messages_can_be_sent(thing: Any) -> None:
    client = session_in(CLIENT, State.READY)

    with pytest.raises(LocalProtocolError):
        client.send(thing)
    assert client.state is State.READY


# --- frames ------------------------------------------------------------------------------------


def test_half_a_frame_is_kept_until_the_rest_comes(ready: Pair) -> None:
    data = ready.client.send(Call(1, Ping()))

    assert ready.deliver(SERVER, data[:-1]) == []
    assert ready.server.half_sent
    assert ready.deliver(SERVER, data[-1:]) == [Call(1, Ping())]
    assert not ready.server.half_sent


def test_a_frame_of_the_greatest_length_is_taken(ready: Pair) -> None:
    around = len(msgspec.msgpack.encode(Call(1, Sign(1, b"d" * 60_000, Padding())))) - 60_000
    call = Call(1, Sign(1, b"d" * (limits.KEY_FRAME_BYTES - around), Padding()))

    assert len(msgspec.msgpack.encode(call)) == limits.KEY_FRAME_BYTES
    assert ready.send(CLIENT, call) == [call]


def test_a_longer_frame_is_not_sent_and_nothing_has_happened(ready: Pair) -> None:
    call = Call(1, Sign(1, b"d" * limits.KEY_FRAME_BYTES, Padding()))

    with pytest.raises(LocalProtocolError, match=str(limits.KEY_FRAME_BYTES)):
        ready.client.send(call)
    assert ready.client.outstanding == 0
    assert ready.send(CLIENT, Call(1, Ping())) == [Call(1, Ping())]


@pytest.mark.parametrize("length", [limits.KEY_FRAME_BYTES + 1, 2**31, 2**32 - 1])
def test_a_longer_frame_is_refused_when_it_is_announced(ready: Pair, length: int) -> None:
    """Nobody waits, and nothing is kept, for four bytes that promise four gigabytes."""
    ready.cut = Cut.WHOLE

    with pytest.raises(RemoteProtocolError, match=str(length)):
        ready.deliver(SERVER, struct.pack("<I", length))
    assert ready.server.state is State.BROKEN


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x90",
        b"\x80",
        b"\x91\x03",
        b"\x93\x63\x01\x91\x01",
        b"\x93\xa4Call\x01\x91\x01",
        b"\x93\x03\xa11\x91\x01",
        b"\x93\x03\x01\x91\x63",
        b"\x93\x03\x01\x90",
        b"\x93\x04\x01",
        b"\x96\x05\x01\x01\xa1\xff\xa0\x90",
        b"\x95\x03\x01\x91\x01\xa1\xff\x90",
        b"\x95\x03\x01\x91\x01\xa0\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc7\x02\xff\0\0",
        b"\x93\x03\x01\x91\x01\x00",
        b"\x91" * 60000,
        b"\x96\x03\x01\x91\x01\xa0\x90" + b"\x91" * 60000 + b"\x01",
        bytes(range(256)),
    ],
    ids=lambda body: body[:12].hex(" "),
)
def test_garbage_breaks_the_protocol_and_is_not_quoted(role: Role, body: bytes) -> None:
    session = session_in(role, State.READY)

    with pytest.raises(RemoteProtocolError) as caught:
        session.receive(frame(body))
    assert session.state is State.BROKEN
    assert caught.value.cause == f"a frame of {len(body)} bytes is not a message of this connection"
    assert caught.value.__suppress_context__


def test_a_frame_that_is_cut_short_breaks_the_protocol(ready: Pair) -> None:
    body = encoded(KINDS["Call"])[4:]

    with pytest.raises(RemoteProtocolError):
        ready.deliver(SERVER, frame(body[:-1]))


def test_bytes_behind_a_message_break_the_protocol(ready: Pair) -> None:
    body = encoded(KINDS["Call"])[4:]

    with pytest.raises(RemoteProtocolError):
        ready.deliver(SERVER, frame(body + b"\0"))


def receiver_of(kind: str) -> Session:
    """A session that waits for this kind of message."""
    if kind in ("Hello", "Call"):
        return session_in(SERVER, State.START if kind == "Hello" else State.READY)
    return session_in(CLIENT, State.GREETING if kind == "Welcome" else State.READY)


def fields_of(kind: str) -> list[Any]:
    """Tag and fields of a message, the ones with defaults too."""
    fields = msgspec.structs.astuple(KINDS[kind])
    (tag, *_) = msgspec.msgpack.decode(msgspec.msgpack.encode(KINDS[kind]))
    return [tag, *fields]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_fields_at_the_end_are_ignored(kind: str) -> None:
    """What a later version adds does not hurt this one."""
    later = [*fields_of(kind), {"any": [1, 2.5, None]}, b"grease", "more"]

    assert receiver_of(kind).receive(encoded(later)) == [KINDS[kind]]


def test_unknown_fields_inside_of_a_call_are_ignored(ready: Pair) -> None:
    call = [3, 7, [2, 1, b"digest", [8, "SHA256", 32, "later"], None], "", [["s", 1, "f", 9]]]

    assert ready.deliver(SERVER, encoded(call)) == [
        Call(7, Sign(1, b"digest", Padding(8, "SHA256", 32)), "", (Hop("s", 1, "f"),))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_field_breaks_the_protocol(kind: str) -> None:
    message = KINDS[kind]
    required = 1 + len(message.__struct_fields__) - len(message.__struct_defaults__)

    assert receiver_of(kind).receive(encoded(fields_of(kind)[:required])) == [message]
    with pytest.raises(RemoteProtocolError):
        receiver_of(kind).receive(encoded(fields_of(kind)[: required - 1]))


def test_an_operation_of_another_connection_is_no_message_here(ready: Pair) -> None:
    """Tags are numbered per kind of connection: the tenth is only one of the control socket's."""
    with pytest.raises(RemoteProtocolError):
        ready.deliver(SERVER, encoded(Call(1, ReleaseEphemeral(b"blob"))))


# --- calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call_id", [1, 0, -1, -(2**63)])
def test_a_call_id_that_is_in_use_or_not_positive(ready: Pair, call_id: int) -> None:
    ready.send(CLIENT, Call(1, Ping()))

    with pytest.raises(LocalProtocolError, match=f"call id {call_id} is in use"):
        ready.client.send(Call(call_id, Ping()))
    assert ready.client.outstanding == 1
    with pytest.raises(RemoteProtocolError, match=f"call id {call_id} is in use"):
        ready.deliver(SERVER, encoded(Call(call_id, Ping())))
    assert ready.server.state is State.BROKEN


@pytest.mark.parametrize("answer", [returned(2, Done()), Failure(2, 1, "", "", ())])
def test_an_answer_to_a_call_that_nobody_made(ready: Pair, answer: Message) -> None:
    ready.send(CLIENT, Call(1, Ping()))

    with pytest.raises(LocalProtocolError, match="no call 2 wants an answer"):
        ready.server.send(answer)
    with pytest.raises(RemoteProtocolError, match="an answer came to call 2"):
        ready.deliver(CLIENT, encoded(answer))
    assert ready.client.state is State.BROKEN


@pytest.mark.parametrize("answer", [KINDS["Return"], KINDS["Failure"]], ids=["return", "failure"])
def test_a_call_is_answered_once(ready: Pair, answer: Message) -> None:
    ready.send(CLIENT, Call(1, Ping()))
    ready.send(SERVER, answer)

    with pytest.raises(LocalProtocolError):
        ready.server.send(answer)
    with pytest.raises(RemoteProtocolError):
        ready.deliver(CLIENT, encoded(answer))


def test_a_limited_number_of_calls_is_unanswered() -> None:
    pair = Pair().greet()
    pair.send(CLIENT, *(Call(number, Ping()) for number in range(1, OUTSTANDING_CALLS + 1)))
    one_more = Call(OUTSTANDING_CALLS + 1, Ping())

    with pytest.raises(LocalProtocolError, match=str(OUTSTANDING_CALLS)):
        pair.client.send(one_more)
    pair.send(SERVER, returned(1, Done()))
    assert pair.send(CLIENT, one_more) == [one_more]
    with pytest.raises(RemoteProtocolError, match=str(OUTSTANDING_CALLS)):
        pair.deliver(SERVER, encoded(Call(OUTSTANDING_CALLS + 2, Ping())))


@pytest.mark.parametrize(
    ("trace", "way"),
    [
        ("", ()),
        ("t" * limits.TRACEPARENT_BYTES, hops(limits.HOPS, limits.HOP_TEXT_BYTES)),
    ],
    ids=["nothing", "the most"],
)
def test_trace_and_hops_arrive(ready: Pair, trace: str, way: tuple[Hop, ...]) -> None:
    call = Call(1, Ping(), trace, way)

    assert ready.send(CLIENT, call) == [call]


TOO_LONG = [
    pytest.param(Call(1, Ping(), "t" * (limits.TRACEPARENT_BYTES + 1)), id="trace"),
    pytest.param(Call(1, Ping(), "", hops(limits.HOPS + 1)), id="hops"),
    pytest.param(
        Call(1, Ping(), "", (Hop("s" * (limits.HOP_TEXT_BYTES + 1), 1, "f"),)), id="service"
    ),
    pytest.param(
        Call(1, Ping(), "", (Hop("s", 1, "f" * (limits.HOP_TEXT_BYTES + 1)),)), id="function"
    ),
]


@pytest.mark.parametrize("call", TOO_LONG)
def test_too_long_a_trace_or_way_breaks_the_protocol(ready: Pair, call: Call[Ping]) -> None:
    with pytest.raises(RemoteProtocolError, match="the trace or the hops of a call are too long"):
        ready.deliver(SERVER, encoded(call))
    assert ready.server.state is State.BROKEN


@pytest.mark.parametrize("call", TOO_LONG)
def test_too_long_a_trace_or_way_is_not_sent(call: Call[Ping]) -> None:
    client = session_in(CLIENT, State.READY)
    call = msgspec.structs.replace(call, call_id=2)

    with pytest.raises(LocalProtocolError):
        client.send(call)
    assert client.outstanding == 1


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LocalProtocolError, RemoteProtocolError])
def test_a_protocol_error_is_one_of_ncrypt(kind: type[NCryptError]) -> None:
    error = kind("what happened", "what to do")  # type: ignore[arg-type]

    assert isinstance(error, NCryptError)
    assert (error.status, error.cause, error.action, error.chain) == (
        Status.KEYISO_E_PROTOCOL,
        "what happened",
        "what to do",
        (),
    )


# --- telling what was done ---------------------------------------------------------------------


def spans(count: int, **changes: Any) -> tuple[Span, ...]:
    return tuple(Span("keyiso", 1, "OpenKey", 0.5, **changes) for _ in range(count))


def test_an_answer_tells_what_was_done_for_it(ready: Pair) -> None:
    done = Span("keyiso", 1, "Sign", 0.5), Span("software-0", 2, "Load", 0.25, 1, 1)
    ready.send(CLIENT, Call(1, Ping(), tell=True), Call(2, Ping(), tell=True))

    answers = ready.send(SERVER, returned(1, Done(), done), Failure(2, 1, "", "", (), done))

    told = [answer.spans for answer in answers if isinstance(answer, Return | Failure)]
    assert told == [done, done]


@pytest.mark.parametrize(
    "told",
    [
        spans(limits.SPANS + 1),
        spans(1, depth=limits.HOPS),
        spans(1, depth=-1),
        (Span("s" * (limits.HOP_TEXT_BYTES + 1), 1, "", 0.0),),
        (Span("", 1, "f" * (limits.HOP_TEXT_BYTES + 1), 0.0),),
    ],
    ids=["too many", "too deep", "above", "service", "function"],
)
def test_what_is_told_is_bounded(ready: Pair, told: tuple[Span, ...]) -> None:
    ready.send(CLIENT, Call(1, Ping(), tell=True))

    with pytest.raises(RemoteProtocolError, match="spans"):
        ready.deliver(CLIENT, encoded(returned(1, Done(), told)))


def test_peers_that_know_nothing_of_telling_are_understood(ready: Pair) -> None:
    """Their messages end before the fields; ours have what they do not read."""
    (call,) = ready.deliver(SERVER, frame(msgspec.msgpack.encode([3, 1, [1], "", []])))
    ready.client.send(Call(1, Ping(), tell=True))
    (answer,) = ready.deliver(CLIENT, frame(msgspec.msgpack.encode([4, 1, []])))

    assert isinstance(call, Call)
    assert call.tell is False
    assert isinstance(answer, Return)
    assert answer.spans == ()
