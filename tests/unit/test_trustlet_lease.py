"""A worker serves loaded keys for as long as a KeyIso service could take them away."""

import functools
import os
import socket
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso import limits
from keyiso.crypto.key_blob import seal_key
from keyiso.crypto.signatures import NO_PADDING, verify_digest
from keyiso.keyiso_service.workers import Workers, WorkerSockets
from keyiso.quotas import Quotas
from keyiso.server.identity import Identity
from keyiso.server.loop import Loop
from keyiso.status import Status
from keyiso.trustlet.engine import Engine
from keyiso.trustlet.worker import Worker
from keyiso.wire.channel import Sign, Signature
from keyiso.wire.link import AddChannel, Load, RenewLease, Revoke
from keyiso.wire.messages import Call, Failure, Message, Operation, R_co, Return, result_of
from keyiso.wire.results import Opened
from keyiso.wire.session import Role, Session, client_decoder
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, Until, open_descriptors, play, rounds
from tests.unit.samples import BOOT_ROOT, ROOT, ec_key, header, pkcs8

CHANNEL = b"c" * 16
DIGEST = bytes(32)
UID = 1000


class Client:
    """The other end of a link, or of a key channel."""

    def __init__(self, connected: socket.socket, frame_bytes: int) -> None:
        self.socket = connected
        self.socket.setblocking(False)
        self._session = Session(Role.CLIENT, client_decoder(), frame_bytes=frame_bytes)
        self._heard: list[Message] = []
        self._calls = 0

    def greet(self) -> Iterator[None]:
        self.socket.send(self._session.hello("test"))
        yield from self._hear()
        self._heard.clear()

    def ask(
        self, operation: Operation[R_co], *descriptors: int
    ) -> Generator[None, None, R_co | int]:
        """The result of an operation, or the status that came instead."""
        self._calls += 1
        frame = self._session.send(Call(self._calls, operation))
        socket.send_fds(self.socket, [frame], descriptors)
        yield from self._hear()
        answer = self._heard.pop()
        assert isinstance(answer, Return | Failure)
        return answer.status if isinstance(answer, Failure) else result_of(operation, answer)

    def _hear(self) -> Iterator[None]:
        yield from Until(self._listen)

    def _listen(self) -> bool:
        try:
            self._heard += self._session.receive(self.socket.recv(1 << 16))
        except BlockingIOError:
            return False
        return True


class Stand:
    """A worker with one key loaded into one channel, and nobody who renews its lease."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(os.fspath(path))
        self._listening.listen()
        identity = Identity("software-0", b"i" * 16, b"b" * 16, 4711)
        worker = Worker(loop, identity, Engine("software", ROOT, BOOT_ROOT), os.geteuid(), Quotas())
        self._listener = worker.listen(self._listening)
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(os.fspath(path))
        self.link = Client(connected, limits.CONTROL_FRAME_BYTES)
        ours, self._theirs = socket.socketpair()
        self._channel = Client(ours, limits.KEY_FRAME_BYTES)
        self._slot = 0

    def load(self) -> Script:
        yield from self.link.greet()
        yield from self.link.ask(AddChannel(CHANNEL, UID), self._theirs.fileno())
        self._theirs.close()
        yield from self._channel.greet()
        opened = yield from self.link.ask(
            Load(CHANNEL, UID, seal_key(ROOT, header(owner=UID), pkcs8()))
        )
        assert isinstance(opened, Opened)
        self._slot = opened.slot

    def signs(self) -> Generator[None, None, bool]:
        """Whether the worker signs with the key. It does, or it says that it is stale."""
        answer: Any = yield from self._channel.ask(Sign(self._slot, DIGEST, NO_PADDING))
        if isinstance(answer, Signature):
            verify_digest(ec_key().public_key(), DIGEST, answer.value, NO_PADDING)
            return True
        assert answer == Status.KEYISO_E_STALE
        return False

    def end(self) -> Script:
        for connection in tuple(self._listener.connections):
            connection.close()
        for client in (self.link, self._channel):
            client.socket.close()
        self._theirs.close()
        yield from rounds(3)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Relative, because a test's directory may be too long for an address."""
    monkeypatch.chdir(tmp_path)
    return Path("worker.sock")


@pytest.fixture
def stand(loop: Loop, path: Path) -> Iterator[Stand]:
    made = Stand(loop, path)
    yield made
    made.close()


def test_a_worker_that_never_heard_of_a_service_refuses(loop: Loop, stand: Stand) -> None:
    def script() -> Script:
        yield from stand.load()
        assert not (yield from stand.signs())
        yield from stand.end()

    play(loop, script())


def test_a_worker_that_hears_nothing_any_more_refuses_when_its_lease_ends(
    loop: Loop, clock: FakeClock, stand: Stand
) -> None:
    def script() -> Script:
        yield from stand.load()
        yield from stand.link.ask(RenewLease())
        assert (yield from stand.signs())
        clock.advance(limits.LEASE_SECONDS)
        assert (yield from stand.signs())
        clock.advance(0.001)
        assert not (yield from stand.signs())
        yield from stand.end()

    play(loop, script())


def test_a_worker_whose_service_comes_back_serves_the_same_slots_again(
    loop: Loop, clock: FakeClock, stand: Stand
) -> None:
    def script() -> Script:
        yield from stand.load()
        yield from stand.link.ask(RenewLease())
        clock.advance(10 * limits.LEASE_SECONDS)
        assert not (yield from stand.signs())
        yield from stand.link.ask(RenewLease())
        assert (yield from stand.signs())
        yield from stand.end()

    play(loop, script())


def test_other_words_of_the_service_renew_nothing(
    loop: Loop, clock: FakeClock, stand: Stand
) -> None:
    """Only `RenewLease` says that everything that was revoked was told."""

    def script() -> Script:
        yield from stand.load()
        yield from stand.link.ask(RenewLease())
        clock.advance(limits.LEASE_SECONDS + 0.001)
        yield from stand.link.ask(Revoke((b"another key's id",)))
        assert not (yield from stand.signs())
        yield from stand.end()

    play(loop, script())


def test_the_service_renews_leases_for_as_long_as_it_runs(
    loop: Loop, clock: FakeClock, stand: Stand, path: Path
) -> None:
    """Also when it is late by half a lease, as a busy one may be."""

    def script() -> Script:
        yield from stand.load()
        Workers(
            loop, "keyiso", WorkerSockets([path]), lambda: (), lambda uses, level: None, Quotas()
        )
        yield from rounds(50)  # it connects, and says so
        for pause in (1.0, limits.LEASE_SECONDS / 4, limits.LEASE_SECONDS / 2) * 10:
            clock.advance(pause)
            yield from rounds(20)
            assert (yield from stand.signs())
        yield from stand.end()

    play(loop, script())


def test_a_service_that_connects_first_tells_what_is_revoked(
    loop: Loop, stand: Stand, path: Path
) -> None:
    """A worker may hold a key whose revocation the service before did not live to tell."""

    def script() -> Script:
        yield from stand.load()
        yield from stand.link.ask(RenewLease())
        assert (yield from stand.signs())
        Workers(
            loop,
            "keyiso",
            WorkerSockets([path]),
            lambda: (b"another key's id", header().key_id),
            lambda uses, level: None,
            Quotas(),
        )
        yield from rounds(50)
        assert not (yield from stand.signs())
        yield from stand.end()

    play(loop, script())


@pytest.mark.parametrize(
    "open_one",
    [
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        functools.partial(open, os.devnull, "rb"),
    ],
    ids=["datagrams", "the network", "a file"],
)
def test_only_one_end_of_a_stream_becomes_a_channel(
    loop: Loop, stand: Stand, open_one: Callable[[], Any]
) -> None:
    def script() -> Script:
        yield from stand.link.greet()
        with open_one() as handed:
            before = open_descriptors()
            status = yield from stand.link.ask(AddChannel(CHANNEL, UID), handed.fileno())
            assert status == Status.KEYISO_E_PROTOCOL
            assert open_descriptors() == before
        yield from stand.end()

    play(loop, script())
