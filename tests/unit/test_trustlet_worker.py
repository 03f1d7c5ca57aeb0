"""A worker tells what was done with its keys: when it is time, once, and to who is there."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyiso import limits
from keyiso.crypto.signatures import Padding
from keyiso.quotas import Quotas
from keyiso.server.identity import Identity
from keyiso.server.loop import Loop
from keyiso.status import Status
from keyiso.trustlet.engine import Engine
from keyiso.trustlet.worker import Worker
from keyiso.wire.channel import Sign
from keyiso.wire.link import (
    EVERYBODY,
    AddChannel,
    ChannelHolder,
    ChannelHolders,
    GetChannels,
    GetWorkerStatus,
    Load,
    RenewLease,
    Revoke,
    TakeUses,
    Uses,
)
from keyiso.wire.messages import Call, Failure, Return, Welcome, result_of
from keyiso.wire.results import Opened
from keyiso.wire.session import Role, Session, client_decoder
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, Until, play, rounds
from tests.unit.samples import BOOT_ROOT, ROOT
from tests.unit.test_trustlet_engine import GRANT, terms

CHANNEL = b"c" * 16
DIGEST = b"d" * 32


class Caller:
    """The other end of a connection to the worker, in the same loop."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.setblocking(False)
        self._session = Session(
            Role.CLIENT, client_decoder(), frame_bytes=limits.CONTROL_FRAME_BYTES
        )
        self._calls = 0
        self._asked: dict[int, Any] = {}
        self.answers: list[Any] = []
        """Results, failures and the welcome, in the order in which they came."""

    def hello(self) -> None:
        self._socket.sendall(self._session.hello("test"))

    def ask(self, operation: Any, *descriptors: int) -> None:
        self._calls += 1
        self._asked[self._calls] = operation
        frame = self._session.send(Call(self._calls, operation, "00-trace"))
        if descriptors:
            socket.send_fds(self._socket, [frame], descriptors)
        else:
            self._socket.sendall(frame)

    def heard(self) -> int:
        """How many answers there are by now."""
        try:
            messages = self._session.receive(self._socket.recv(1 << 20))
        except BlockingIOError:
            return len(self.answers)
        for message in messages:
            if isinstance(message, Return):
                message = result_of(self._asked[message.call_id], message)
            self.answers.append(message)
        return len(self.answers)

    def answer(self) -> Script:
        """Wait for one more answer."""
        count = len(self.answers)
        yield from Until(lambda: self.heard() > count)

    def close(self) -> None:
        self._socket.close()


class World:
    """A worker with one key loaded into one channel."""

    def __init__(self, path: str) -> None:
        self.clock = FakeClock()
        self.loop = Loop(self.clock)
        engine = Engine("software", ROOT, BOOT_ROOT)
        self._blob = engine.generate(terms(), GRANT).blob
        self._worker = Worker(
            self.loop,
            Identity("software-0", b"i" * 16, b"b" * 16, 7),
            engine,
            os.geteuid(),
            Quotas(),
        )
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen()
        self._listener = self._worker.listen(self._listening)
        self._path = path
        self._open: list[Caller] = []
        self.slot = 0

    def link(self) -> Caller:
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(self._path)
        caller = Caller(connected)
        self._open.append(caller)
        caller.hello()
        return caller

    def channel(self, link: Caller) -> Iterator[None]:
        """Attach a client, with the key loaded."""
        ours, theirs = socket.socketpair()
        self.client = Caller(ours)
        self._open.append(self.client)
        yield from link.answer()
        link.ask(RenewLease())
        yield from link.answer()
        link.ask(AddChannel(CHANNEL, 1000, 4711, "nginx"), theirs.fileno())
        yield from link.answer()
        theirs.close()
        self.client.hello()
        yield from self.client.answer()
        link.ask(Load(CHANNEL, 1000, self._blob))
        yield from link.answer()
        opened = link.answers[-1]
        assert isinstance(opened, Opened)
        self.slot, self.key_id = opened.slot, opened.header.key_id
        self.public_key = opened.header.public_key

    def sign(self, digest: bytes = DIGEST) -> Script:
        self.client.ask(Sign(self.slot, digest, Padding()))
        yield from self.client.answer()

    def close(self) -> None:
        for caller in self._open:
            caller.close()
        for connection in (*self._listener.connections, *self._worker._channels.values()):
            connection.close()
        self._listening.close()
        self.loop.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    found = World(str(tmp_path / "link"))
    yield found
    found.close()


def made(uses: Uses) -> list[tuple[str, int]]:
    return [(use.function, use.count) for use in uses.made]


def test_uses_are_told_a_second_after_the_first(world: World) -> None:
    def script() -> Script:
        link = world.link()
        yield from world.channel(link)
        link.ask(TakeUses())
        yield from world.sign()
        yield from world.sign()
        yield from world.sign(b"")
        yield from rounds(5)
        before = link.heard()
        world.clock.advance(limits.USES_SECONDS)
        yield from Until(lambda: link.heard() > before)
        uses = link.answers[-1]
        assert isinstance(uses, Uses)
        assert made(uses) == [("Sign", 3)]
        (failed,) = uses.failed
        assert (failed.uid, failed.pid, failed.process) == (1000, 4711, "nginx")
        assert (failed.key_id, failed.count, failed.trace) == (world.key_id, 1, "00-trace")

    play(world.loop, script())


def test_what_nobody_took_is_for_the_next_who_asks(world: World) -> None:
    """The KeyIso service ended while it waited."""

    def script() -> Script:
        first = world.link()
        yield from world.channel(first)
        first.ask(TakeUses())
        yield from rounds(5)
        yield from world.sign()
        first.close()
        yield from rounds(5)
        world.clock.advance(limits.USES_SECONDS)
        yield from rounds(5)
        second = world.link()
        yield from second.answer()
        second.ask(TakeUses())
        yield from second.answer()
        assert made(second.answers[-1]) == [("Sign", 1)]

    play(world.loop, script())


def test_what_the_client_mends_is_no_failure(world: World) -> None:
    """A slot that was emptied, and a lease that has ended while the key is still there."""

    def script() -> Script:
        link = world.link()
        yield from world.channel(link)
        world.clock.advance(limits.LEASE_SECONDS + 1)
        yield from world.sign()
        link.ask(RenewLease())
        yield from link.answer()
        yield from world.sign()
        link.ask(Revoke((world.key_id,)))
        yield from link.answer()
        yield from world.sign()
        statuses = [
            one.status if isinstance(one, Failure) else 0
            for one in world.client.answers
            if not isinstance(one, Welcome)
        ]
        assert statuses == [Status.KEYISO_E_STALE, 0, Status.KEYISO_E_STALE]
        link.ask(GetWorkerStatus())
        yield from link.answer()
        status = link.answers[-1]
        assert (status.operations, status.failures, status.lost) == (1, 0, 0)

    play(world.loop, script())


def test_an_older_keyiso_service_says_less_of_a_client() -> None:
    """Without process and pid, a failure has none."""
    old = msgspec.msgpack.encode([1, CHANNEL, 1000])
    found = msgspec.msgpack.decode(old, type=AddChannel)

    assert (found.uid, found.pid, found.process) == (1000, 0, "")


def test_who_has_channels_is_told_by_user_and_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    nginx = ChannelHolder(1000, 4711, "nginx", 1)

    def script() -> Script:
        link = world.link()
        yield from world.channel(link)
        for uid, most in ((EVERYBODY, 1), (1000, 1), (1001, 1), (EVERYBODY, 0)):
            monkeypatch.setattr(limits, "BOUND_PROCESSES", most)
            link.ask(GetChannels(uid))
            yield from link.answer()
        assert link.answers[-4:] == [
            ChannelHolders((nginx,), 0),
            ChannelHolders((nginx,), 0),
            ChannelHolders((), 0),
            ChannelHolders((), 1),
        ]

    play(world.loop, script())
