"""A client of a service: greeted, answered, told why not, and never more than that."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyiso import limits
from keyiso.crypto.signatures import NO_PADDING
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.quotas import Quotas
from keyiso.server.connection import DONE, Connection, Endpoint, WithDescriptor
from keyiso.server.identity import Identity
from keyiso.server.loop import Loop
from keyiso.server.peer import Peer
from keyiso.server.promise import Promise
from keyiso.server.shares import Share, Shares, no_memory
from keyiso.status import Status
from keyiso.wire.channel import ChannelOperation, Ping, Release, Sign, Signature
from keyiso.wire.messages import Call, Failure, Hello, Message, Refusal, Return, Span, Welcome
from keyiso.wire.session import Role, Session, client_decoder
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, Until, open_descriptors, play, rounds

IDENTITY = Identity("test-service", b"i" * 16, b"b" * 16, 4711)
PEER = Peer(1, 1000, 1000, frozenset({1000}))
SECRET = "the secret of a foreign exception"


class Service:
    """A connection whose handlers a test chooses, and the client at the other end."""

    def __init__(
        self, loop: Loop, handlers: dict[type, Callable[..., Any]], costs: dict[type, int]
    ) -> None:
        ours, self.socket = socket.socketpair()
        self.socket.setblocking(False)
        quotas = Quotas()
        self.shares = Shares(Share(quotas.limit("connections_per_user")), quotas)
        self.session = Session(Role.CLIENT, client_decoder(), frame_bytes=limits.KEY_FRAME_BYTES)
        self.heard: list[Message] = []
        self.ended = False
        self.full = False
        """There is no memory for more than there is."""
        self.events: list[str] = []
        endpoint = Endpoint(
            operations=ChannelOperation,
            handlers=handlers,
            frame_bytes=limits.KEY_FRAME_BYTES,
            admit=lambda peer: None,
            opened=lambda connection: self.events.append("opened"),
            closed=lambda connection: self.events.append("closed"),
            costs=costs,
            make_room=self._make_room,
        )
        self.connection = Connection(
            loop,
            IDENTITY,
            endpoint,
            ours,
            PEER,
            self.shares,
            lambda connection: self.events.append("ended"),
        )

    def _make_room(self) -> None:
        if self.full:
            raise no_memory()

    def half_sent(self) -> int:
        """Bytes that the connection holds of its user's share."""
        return self._held(self.shares.half_sent, limits.HALF_SENT_BYTES_PER_USER)

    def unsent(self) -> int:
        return self._held(self.shares.unsent, limits.UNSENT_BYTES_PER_USER)

    def _held(self, share: Share, most: int) -> int:
        """What cannot be taken is held: found by halving."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            try:
                share.take(PEER.uid, middle)
            except NCryptError:
                high = middle - 1
            else:
                share.give_back(PEER.uid, middle)
                low = middle
        return most - low

    def ask(self, *calls: Call[Any]) -> None:
        self.socket.send(b"".join(map(self.session.send, calls)))

    def listen(self) -> None:
        """Take what has come."""
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        self.ended = not data
        self.heard += self.session.receive(data) if data else []

    def hear(self, count: int = 1) -> Iterator[None]:
        """Let the loop go round until so many messages have come."""

        def heard() -> bool:
            self.listen()
            return len(self.heard) >= count

        yield from Until(heard)

    def hear_the_end(self) -> Iterator[None]:
        def ended() -> bool:
            self.listen()
            return self.ended

        yield from Until(ended)

    def greet(self) -> Iterator[None]:
        self.socket.send(self.session.hello("test"))
        yield from self.hear()
        (welcome,) = self.heard
        assert isinstance(welcome, Welcome)
        self.heard.clear()


@pytest.fixture
def serve(loop: Loop) -> Iterator[Callable[..., Service]]:
    """Makes services by their handlers."""
    services: list[Service] = []

    def make(*, cost_of_release: int = 1, **handlers: Callable[..., Any]) -> Service:
        known = {"ping": Ping, "sign": Sign, "release": Release}
        actions: dict[type, Callable[..., Any]] = {
            known[name]: action for name, action in handlers.items()
        }
        services.append(Service(loop, actions, {Release: cost_of_release}))
        return services[-1]

    yield make
    for service in services:
        service.connection.close()
        service.socket.close()


def test_a_client_is_told_who_serves_it(loop: Loop, serve: Callable[..., Service]) -> None:
    service = serve()

    def script() -> Script:
        service.socket.send(service.session.hello("application"))
        yield from service.hear()

    play(loop, script())

    assert service.heard == [Welcome(1, "test-service", b"i" * 16, b"b" * 16, 4711)]
    assert service.connection.client_service == "application"
    assert service.events == ["opened"]


def test_calls_are_answered_by_their_handlers(loop: Loop, serve: Callable[..., Service]) -> None:
    asked: list[object] = []

    def note(connection: Connection, call: Call[Any]) -> Any:
        asked.append(call.operation)
        return DONE

    service = serve(ping=note, release=note)

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(7, Release(3)), Call(8, Ping()))
        yield from service.hear(2)

    play(loop, script())

    assert asked == [Release(3), Ping()]
    assert [answer.call_id for answer in service.heard if isinstance(answer, Return)] == [7, 8]


def test_an_answer_may_come_later_and_out_of_turn(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    promises: dict[int, Promise[Any]] = {}

    async def wait(connection: Connection, call: Call[Release]) -> Any:
        promises[call.operation.slot] = Promise()
        return await promises[call.operation.slot]

    service = serve(release=wait)

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Release(1)), Call(2, Release(2)))
        yield from Until(lambda: len(promises) == 2)
        promises[2].keep(DONE)
        promises[1].break_with(ncrypt_error(Status.NTE_PERM, "not now"))
        yield from service.hear(2)

    play(loop, script())
    first, second = service.heard

    assert isinstance(first, Return)
    assert first.call_id == 2
    assert isinstance(second, Failure)
    assert (second.call_id, second.status, second.cause) == (1, Status.NTE_PERM, "not now")


def test_an_error_names_every_process_on_its_way(loop: Loop, serve: Callable[..., Service]) -> None:
    def refuse(connection: Connection, call: Call[Any]) -> Any:
        raise ncrypt_error(Status.NTE_PERM, "cause", "action")

    service = serve(sign=refuse)
    way = (Hop("application", 1, "SignHash"), Hop("keyiso", 2, "Open"))

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Sign(1, b"d", NO_PADDING), "", way))
        yield from service.hear()

    play(loop, script())

    assert service.heard == [
        Failure(1, Status.NTE_PERM, "cause", "action", (*way, Hop("test-service", 4711, "Sign")))
    ]


def test_a_chain_that_an_error_brought_stays_as_it_is(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    chain = (Hop("application", 1, "x"), Hop("worker", 3, "y"))

    def refuse(connection: Connection, call: Call[Any]) -> Any:
        raise ncrypt_error(Status.NTE_FAIL, chain=chain)

    service = serve(ping=refuse)

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Ping()))
        yield from service.hear()

    play(loop, script())

    assert [message.chain for message in service.heard if isinstance(message, Failure)] == [chain]


@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_exception_that_nobody_expected_is_an_internal_error_without_its_text(
    loop: Loop,
    serve: Callable[..., Service],
    capsys: pytest.CaptureFixture[str],
    when: str,
) -> None:
    def fail(connection: Connection, call: Call[Any]) -> Any:
        raise KeyError(SECRET)

    async def fail_later(connection: Connection, call: Call[Any]) -> Any:
        raise KeyError(SECRET)

    service = serve(ping=fail if when == "at once" else fail_later, release=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Ping()), Call(2, Release(1)))
        yield from service.hear(2)

    play(loop, script())
    failure, answer = service.heard

    assert isinstance(failure, Failure)
    assert failure.status == Status.NTE_INTERNAL_ERROR
    assert "KeyError" in failure.cause
    assert SECRET not in str(failure)
    assert SECRET not in "".join(capsys.readouterr())
    assert isinstance(answer, Return)


def test_a_result_that_is_too_long_is_an_error_and_the_connection_stays(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    service = serve(
        ping=lambda *_: Signature(bytes(limits.KEY_FRAME_BYTES)), release=lambda *_: DONE
    )

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Ping()), Call(2, Release(1)))
        yield from service.hear(2)

    play(loop, script())

    assert isinstance(service.heard[0], Failure)
    assert isinstance(service.heard[1], Return)


# --- turns -------------------------------------------------------------------------------------


def test_who_asks_much_at_once_waits_for_the_others_in_between(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    order: list[str] = []

    def note(who: str) -> Callable[..., Any]:
        def answer(connection: Connection, call: Call[Any]) -> Any:
            order.append(who)
            return DONE

        return answer

    greedy, modest = serve(ping=note("greedy")), serve(ping=note("modest"))
    count = 5 * limits.CALLS_PER_TURN

    def script() -> Script:
        yield from greedy.greet()
        yield from modest.greet()
        greedy.ask(*(Call(number, Ping()) for number in range(1, count + 1)))
        modest.ask(Call(1, Ping()))
        yield from greedy.hear(count)

    play(loop, script())

    assert order.index("modest") <= 2 * limits.CALLS_PER_TURN
    assert [answer.call_id for answer in greedy.heard if isinstance(answer, Return)] == [
        *range(1, count + 1)
    ]


@pytest.mark.parametrize("before", [0, 1, limits.CALLS_PER_TURN - 1])
def test_what_costs_a_whole_turn_has_one_of_its_own(
    loop: Loop, serve: Callable[..., Service], before: int
) -> None:
    """However cheap what comes with it: nobody waits for more than a turn's worth of it."""
    order: list[str] = []

    def note(what: str) -> Callable[..., Any]:
        def answer(connection: Connection, call: Call[Any]) -> Any:
            order.append(what)
            return DONE

        return answer

    whole = limits.CALLS_PER_TURN
    greedy = serve(ping=note("cheap"), release=note("dear"), cost_of_release=whole)
    modest = serve(ping=note("modest"))
    calls = [Ping()] * before + [Release(1)] * 4

    def script() -> Script:
        yield from greedy.greet()
        yield from modest.greet()
        greedy.ask(*(Call(number, call) for number, call in enumerate(calls, 1)))
        modest.ask(*(Call(number, Ping()) for number in range(1, 8 * whole)))
        yield from greedy.hear(len(calls))

    play(loop, script())
    turns = "".join({"cheap": "c", "dear": "d", "modest": "m"}[one] for one in order).split("m")

    assert set(turns) - {""} == {"c" * before, "d"} - {""}


def test_no_more_is_read_from_who_has_calls_waiting(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    """What a client may have in a service's memory is one read, not all that it can send."""
    service = serve(ping=lambda *_: DONE)
    count = 10 * limits.CALLS_PER_TURN

    def script() -> Script:
        yield from service.greet()
        service.ask(*(Call(number, Ping()) for number in range(1, count + 1)))
        yield from rounds(3)
        service.socket.send(b"\xff\xff\xff\xff")  # which would end the connection at once
        yield from service.hear_the_end()

    play(loop, script())

    assert sum(isinstance(message, Return) for message in service.heard) == count
    assert isinstance(service.heard[-1], Refusal)


def test_calls_that_wait_are_forgotten_with_their_client(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    asked: list[int] = []

    def close(connection: Connection, call: Call[Any]) -> Any:
        asked.append(call.call_id)
        connection.close()
        return DONE

    service = serve(ping=close)

    def script() -> Script:
        yield from service.greet()
        service.ask(*(Call(number, Ping()) for number in range(1, 100)))
        yield from service.hear_the_end()
        yield from rounds(5)

    play(loop, script())

    assert asked == [1]


# --- half a frame ------------------------------------------------------------------------------


def test_half_a_frame_is_held_and_given_back(loop: Loop, serve: Callable[..., Service]) -> None:
    service = serve(ping=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        frame = service.session.send(Call(1, Ping()))
        service.socket.send(frame[:3])
        yield from rounds(2)
        assert service.half_sent() == 3
        service.socket.send(frame[3:] + frame[:6])
        yield from rounds(2)
        assert service.half_sent() == 6
        service.connection.close()

    play(loop, script())

    assert service.half_sent() == 0


def test_who_holds_too_much_is_told_and_dropped_and_gives_it_back(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    service = serve()
    others = limits.HALF_SENT_BYTES_PER_USER - 100
    service.shares.half_sent.take(PEER.uid, others)

    def script() -> Script:
        yield from service.greet()
        service.socket.send(b"\0\1\0\0" + b"x" * 97)
        yield from service.hear_the_end()

    play(loop, script())

    assert isinstance(service.heard[0], Refusal)
    assert service.heard[0].status == Status.KEYISO_E_LIMIT
    assert "HALF_SENT_BYTES_PER_USER" in service.heard[0].cause
    assert service.half_sent() == others


def test_a_frame_must_be_whole_some_day(
    loop: Loop, clock: FakeClock, serve: Callable[..., Service]
) -> None:
    service = serve(ping=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        for byte in service.session.send(Call(1, Ping()))[:-1]:
            service.socket.send(bytes([byte]))
            yield from rounds(2)
        clock.advance(limits.FRAME_SECONDS - 0.1)
        yield from rounds(3)
        assert service.connection.open
        clock.advance(0.2)
        yield from service.hear_the_end()

    play(loop, script())

    assert isinstance(service.heard[0], Refusal)
    assert "FRAME_SECONDS" in service.heard[0].cause


def test_a_frame_that_got_whole_is_not_held_against_anybody(
    loop: Loop, clock: FakeClock, serve: Callable[..., Service]
) -> None:
    service = serve(ping=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        frame = service.session.send(Call(1, Ping()))
        service.socket.send(frame[:5])
        yield from rounds(2)
        service.socket.send(frame[5:])
        yield from service.hear()
        clock.advance(100 * limits.FRAME_SECONDS)
        yield from rounds(3)

    play(loop, script())

    assert service.connection.open


def test_each_frame_has_its_own_time(
    loop: Loop, clock: FakeClock, serve: Callable[..., Service]
) -> None:
    """Of who sends without a pause, every read ends in the middle of some frame."""
    service = serve(ping=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        rest = b""
        for number in range(1, 6):
            frame = service.session.send(Call(number, Ping()))
            service.socket.send(rest + frame[:5])
            rest = frame[5:]
            yield from rounds(3)
            clock.advance(limits.FRAME_SECONDS / 2)
            yield from rounds(3)
            assert service.connection.open

    play(loop, script())


def test_frames_in_pieces_leave_no_timers_behind(
    loop: Loop, clock: FakeClock, serve: Callable[..., Service]
) -> None:
    """One for the connection, however many frames come in pieces before it is due."""
    service = serve(ping=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        timers = len(loop._timers)
        for number in range(1, 50):
            frame = service.session.send(Call(number, Ping()))
            service.socket.send(frame[:5])
            yield from rounds(2)
            service.socket.send(frame[5:])
            yield from service.hear(number)
        assert len(loop._timers) <= timers + 1

    play(loop, script())


# --- what is not answered at once ---------------------------------------------------------------


def test_so_many_calls_of_a_connection_are_worked_on_at_a_time(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    """The others wait, and come when one is done."""
    begun: list[Promise[Any]] = []

    async def slow(connection: Connection, call: Call[Any]) -> Any:
        begun.append(Promise())
        return await begun[-1]

    service = serve(ping=slow)
    count = 2 * limits.CALLS_PER_TURN

    def script() -> Script:
        yield from service.greet()
        service.ask(*(Call(number, Ping()) for number in range(1, count + 1)))
        yield from rounds(5)
        assert len(begun) == limits.CALLS_PER_TURN
        begun[0].keep(DONE)
        begun[1].keep(DONE)
        yield from rounds(5)
        assert len(begun) == limits.CALLS_PER_TURN + 2
        for number in range(2, count):
            yield from rounds(3)
            begun[number].keep(DONE)
        yield from service.hear(count)

    play(loop, script())

    answered = [answer.call_id for answer in service.heard if isinstance(answer, Return)]
    assert sorted(answered) == [*range(1, count + 1)]


def test_a_user_has_a_share_of_what_is_worked_on(loop: Loop, serve: Callable[..., Service]) -> None:
    """What is above it is refused, and the connection goes on."""
    begun: list[Promise[Any]] = []

    async def slow(connection: Connection, call: Call[Any]) -> Any:
        begun.append(Promise())
        return await begun[-1]

    service = serve(ping=slow, release=lambda *_: DONE)
    service.shares.calls.take(PEER.uid, limits.CALLS_PER_USER - 2)

    def script() -> Script:
        yield from service.greet()
        service.ask(*(Call(number, Ping()) for number in (1, 2, 3)))
        yield from service.hear()
        assert isinstance(service.heard[0], Failure)
        assert service.heard[0].call_id == 3
        assert "CALLS_PER_USER" in service.heard[0].cause
        service.ask(Call(4, Release(1)))
        begun[0].keep(DONE)
        yield from service.hear(3)
        service.ask(Call(5, Ping()))
        yield from Until(lambda: len(begun) == 3)

    play(loop, script())


def test_what_is_worked_on_is_given_back_when_its_client_has_gone(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    begun: list[Promise[Any]] = []

    async def slow(connection: Connection, call: Call[Any]) -> Any:
        begun.append(Promise())
        return await begun[-1]

    service = serve(ping=slow)

    def script() -> Script:
        yield from service.greet()
        service.ask(*(Call(number, Ping()) for number in (1, 2, 3)))
        yield from Until(lambda: len(begun) == 3)
        service.connection.close()
        for promise in begun:
            promise.break_with(ncrypt_error(Status.KEYISO_E_STALE, "too late"))

    play(loop, script())
    service.shares.calls.take(PEER.uid, limits.CALLS_PER_USER)


def test_a_turn_is_not_only_bounded_by_calls(
    loop: Loop, clock: FakeClock, serve: Callable[..., Service]
) -> None:
    """Signatures of a very long key, say: each takes half a second."""
    order: list[str] = []

    def slow(connection: Connection, call: Call[Any]) -> Any:
        order.append("greedy")
        clock.advance(0.5)
        return DONE

    def quick(connection: Connection, call: Call[Any]) -> Any:
        order.append("modest")
        return DONE

    greedy, modest = serve(ping=slow), serve(ping=quick)

    def script() -> Script:
        yield from greedy.greet()
        yield from modest.greet()
        greedy.ask(*(Call(number, Ping()) for number in range(1, 11)))
        modest.ask(Call(1, Ping()))
        yield from greedy.hear(10)

    play(loop, script())

    assert order.index("modest") <= 2


def test_answers_that_nobody_reads_are_held_and_given_back(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    service = serve(sign=lambda *_: Signature(bytes(60_000)))

    def script() -> Script:
        yield from service.greet()
        service.ask(*(Call(number, Sign(1, b"", NO_PADDING)) for number in range(1, 15)))
        yield from rounds(20)
        assert service.unsent() > 100_000
        yield from service.hear(14)
        assert service.unsent() == 0

    play(loop, script())


def test_whose_user_reads_too_little_is_dropped(loop: Loop, serve: Callable[..., Service]) -> None:
    service = serve(sign=lambda *_: Signature(bytes(60_000)))
    others = limits.UNSENT_BYTES_PER_USER - 1000
    service.shares.unsent.take(PEER.uid, others)

    def script() -> Script:
        yield from service.greet()
        service.ask(*(Call(number, Sign(1, b"", NO_PADDING)) for number in range(1, 15)))
        yield from Until(lambda: not service.connection.open)

    play(loop, script())

    assert service.unsent() == others


# --- memory that does not grow -------------------------------------------------------------------


def test_small_calls_are_answered_though_there_is_no_room_and_large_ones_refused(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    service = serve(ping=lambda *_: DONE, sign=lambda *_: Signature(b"s"))

    def script() -> Script:
        yield from service.greet()
        service.full = True
        service.ask(Call(1, Ping()), Call(2, Sign(1, bytes(10_000), NO_PADDING)), Call(3, Ping()))
        yield from service.hear(3)

    play(loop, script())

    first, second, third = service.heard
    assert isinstance(first, Return) and isinstance(third, Return)
    assert isinstance(second, Failure)
    assert second.status == Status.NTE_NO_MEMORY


def test_half_a_frame_for_which_there_is_no_room_ends_its_connection(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    service = serve(ping=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        service.full = True
        service.socket.send(service.session.send(Call(1, Ping()))[:5])
        yield from service.hear_the_end()

    play(loop, script())

    (refusal,) = service.heard
    assert isinstance(refusal, Refusal)
    assert refusal.status == Status.NTE_NO_MEMORY


def test_answers_that_nobody_reads_and_for_which_there_is_no_room_end_their_connection(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    service = serve(sign=lambda *_: Signature(bytes(60_000)))

    def script() -> Script:
        yield from service.greet()
        service.full = True
        service.ask(*(Call(number, Sign(1, b"", NO_PADDING)) for number in range(1, 15)))
        yield from Until(lambda: not service.connection.open)

    play(loop, script())

    assert service.unsent() == 0


@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_handler_that_finds_no_memory_refuses_its_call_and_the_connection_stays(
    loop: Loop, serve: Callable[..., Service], when: str
) -> None:
    def fail(connection: Connection, call: Call[Any]) -> Any:
        raise MemoryError

    async def fail_later(connection: Connection, call: Call[Any]) -> Any:
        raise MemoryError

    service = serve(ping=fail if when == "at once" else fail_later, release=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Ping()), Call(2, Release(1)))
        yield from service.hear(2)

    play(loop, script())

    failure, answer = service.heard
    assert isinstance(failure, Failure)
    assert failure.status == Status.NTE_NO_MEMORY
    assert isinstance(answer, Return)


def test_what_cannot_be_read_for_want_of_memory_ends_its_connection(
    loop: Loop, serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = serve(ping=lambda *_: DONE)

    def receive(data: bytes) -> list[Message]:
        raise MemoryError

    def script() -> Script:
        yield from service.greet()
        monkeypatch.setattr(service.connection._session, "receive", receive)
        service.ask(Call(1, Ping()))
        yield from service.hear_the_end()

    play(loop, script())

    (refusal,) = service.heard
    assert isinstance(refusal, Refusal)
    assert refusal.status == Status.NTE_NO_MEMORY


# --- descriptors -------------------------------------------------------------------------------


def test_a_descriptor_goes_with_its_answer(loop: Loop, serve: Callable[..., Service]) -> None:
    inode = os.stat(os.devnull).st_ino
    service = serve(
        ping=lambda *_: WithDescriptor(DONE, os.open(os.devnull, os.O_RDONLY)),
        release=lambda *_: DONE,
    )
    received: list[int] = []

    def script() -> Script:
        yield from service.greet()
        before = open_descriptors()
        service.ask(Call(1, Release(1)), Call(2, Ping()), Call(3, Release(1)))
        while len(service.heard) < 3:
            yield
            try:
                data, descriptors, _, _ = socket.recv_fds(service.socket, 1 << 16, 4)
            except BlockingIOError:
                continue
            service.heard += service.session.receive(data)
            received.extend(descriptors)
        assert open_descriptors() - before == set(received)

    play(loop, script())

    assert [os.fstat(one).st_ino for one in received] == [inode]
    assert [message.call_id for message in service.heard if isinstance(message, Return)] == [
        1,
        2,
        3,
    ]
    for one in received:
        os.close(one)


def test_a_descriptor_for_a_client_that_has_gone_is_closed(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    promise: Promise[Any] = Promise()

    async def wait(connection: Connection, call: Call[Any]) -> Any:
        return await promise

    service = serve(ping=wait)

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Ping()))
        yield from rounds(2)
        service.socket.close()
        yield from Until(lambda: not service.connection.open)
        before = open_descriptors()
        promise.keep(WithDescriptor(DONE, os.open(os.devnull, os.O_RDONLY)))
        yield
        assert open_descriptors() == before

    play(loop, script())


def test_a_descriptor_that_did_not_come_is_missed(serve: Callable[..., Service]) -> None:
    with pytest.raises(NCryptError) as caught:
        serve().connection.take_descriptor()
    assert caught.value.status == Status.KEYISO_E_PROTOCOL


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True], ids=["before the hello", "after it"])
def test_who_breaks_the_protocol_is_told_and_dropped(
    loop: Loop, serve: Callable[..., Service], late: bool
) -> None:
    service = serve()

    def script() -> Script:
        if late:
            yield from service.greet()
        else:
            service.session.hello("never sent")
        service.socket.send(b"GET / HTTP/1.1\r\n\r\n")
        yield from service.hear()
        yield from service.hear_the_end()

    play(loop, script())
    (refusal,) = service.heard

    assert isinstance(refusal, Refusal)
    assert refusal.status == Status.KEYISO_E_PROTOCOL
    assert service.events[-2:] == ["closed", "ended"]


def test_calls_before_the_violation_are_answered_or_not_but_the_reason_comes(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    service = serve(ping=lambda *_: DONE)

    def script() -> Script:
        yield from service.greet()
        service.socket.send(service.session.send(Call(1, Ping())) + b"\xff\xff\xff\xff")
        yield from service.hear_the_end()

    play(loop, script())

    assert isinstance(service.heard[-1], Refusal)


def test_a_client_of_another_version_is_refused(loop: Loop, serve: Callable[..., Service]) -> None:
    service = serve()

    def script() -> Script:
        service.socket.send(service.session.send(Hello(2, 3, "test")))
        yield from service.hear()
        yield from service.hear_the_end()

    play(loop, script())

    assert isinstance(service.heard[0], Refusal)
    assert service.events == ["closed", "ended"]


def test_who_says_nothing_is_dropped_after_a_while(
    loop: Loop, clock: FakeClock, serve: Callable[..., Service]
) -> None:
    service = serve()

    def script() -> Script:
        service.session.hello("never sent")
        clock.advance(limits.HELLO_SECONDS - 0.1)
        yield from rounds(3)
        assert service.connection.open
        clock.advance(0.2)
        yield from service.hear()
        yield from service.hear_the_end()

    play(loop, script())

    assert isinstance(service.heard[0], Refusal)
    assert "HELLO_SECONDS" in service.heard[0].cause


def test_who_said_hello_may_be_silent_for_ever(
    loop: Loop, clock: FakeClock, serve: Callable[..., Service]
) -> None:
    service = serve()

    def script() -> Script:
        yield from service.greet()
        clock.advance(100 * limits.HELLO_SECONDS)
        yield from rounds(3)

    play(loop, script())

    assert service.connection.open


def test_an_error_that_names_an_undecodable_path_reaches_the_client(
    loop: Loop, serve: Callable[..., Service]
) -> None:
    """A state directory may have any bytes in its name, and Python gives them as surrogates."""

    def fail(connection: Connection, call: Call[Any]) -> Any:
        raise ncrypt_error(Status.KEYISO_E_STORE, f"no {os.fsdecode(bytes([0xFF]))} here")

    service = serve(ping=fail)

    def script() -> Script:
        yield from service.greet()
        service.ask(Call(1, Ping()))
        yield from service.hear()

    play(loop, script())

    assert isinstance(service.heard[0], Failure)
    assert service.heard[0].status == Status.KEYISO_E_STORE


# --- telling what was done ---------------------------------------------------------------------


def told(service: Service) -> list[tuple[Span, ...]]:
    return [answer.spans for answer in service.heard if isinstance(answer, Return | Failure)]


def test_who_wants_to_know_is_told_what_was_done(loop: Loop, serve: Callable[..., Service]) -> None:
    """In the answer: by this process, and by those that it asked for the sake of the call."""
    asked = Span("worker", 7, "Load", 0.25), Span("below", 8, "Unseal", 0.125, 5, 1)

    async def ask(connection: Connection, call: Call[Any]) -> Any:
        await kept()
        telling = loop.tellings.of(call.trace)
        if telling is not None:
            telling.add(asked)
        return DONE

    def refuse(connection: Connection, call: Call[Any]) -> Any:
        raise ncrypt_error(Status.NTE_PERM)

    service = serve(release=ask, ping=refuse)

    def script() -> Script:
        yield from service.greet()
        service.ask(
            Call(1, Release(1), "trace 1", tell=True),
            Call(2, Ping(), "trace 2", tell=True),
            Call(3, Release(1), "trace 3"),
            Call(4, Ping(), "trace 4"),
        )
        yield from service.hear(4)

    play(loop, script())
    first, second, *others = told(service)

    assert [(span.service, span.pid, span.function, span.status, span.depth) for span in first] == [
        ("test-service", 4711, "Release", 0, 0),
        ("worker", 7, "Load", 0, 1),
        ("below", 8, "Unseal", 5, 2),
    ]
    assert [span.seconds for span in first[1:]] == [0.25, 0.125]
    assert [(span.function, span.status) for span in second] == [("Ping", Status.NTE_PERM)]
    assert others == [(), ()]
    assert loop.tellings.of("trace 1") is None


async def kept() -> None:
    promise: Promise[None] = Promise()
    promise.keep(None)
    await promise


def test_more_than_fits_is_not_told(loop: Loop) -> None:
    telling = loop.tellings.begin("trace")
    deepest = limits.HOPS - 1

    telling.add((Span("deep", 1, "f", 0.0, 0, deepest), Span("less deep", 1, "f", 0.0, 0, 3)))
    telling.add(tuple(Span("many", 1, "f", 0.0) for _ in range(2 * limits.SPANS)))
    spans = telling.spans(Hop("own", 1, "f"), 0)

    assert len(spans) == limits.SPANS
    assert [span.service for span in spans[:3]] == ["own", "less deep", "many"]
    assert max(span.depth for span in spans) == 4


def test_of_calls_with_one_trace_each_is_told(loop: Loop) -> None:
    first, second = loop.tellings.begin("trace"), loop.tellings.begin("trace")

    assert loop.tellings.of("trace") is first
    assert len(second.spans(Hop("own", 1, "f"), 0)) == 1
    del first
    assert loop.tellings.of("trace") is None
