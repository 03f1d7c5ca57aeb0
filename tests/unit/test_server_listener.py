"""A listening socket: who is accepted, who is refused, and what happens when nothing is left."""

import contextlib
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.quotas import Quotas
from keyiso.server.connection import Endpoint
from keyiso.server.identity import Identity
from keyiso.server.listener import Listener
from keyiso.server.loop import Loop
from keyiso.wire.channel import ChannelOperation
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, Until, play, rounds

IDENTITY = Identity("test-service", b"i" * 16, b"b" * 16, 4711)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def listener(loop: Loop, path: Path) -> Iterator[Listener]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    listening.listen()
    endpoint = Endpoint(
        operations=ChannelOperation, handlers={}, frame_bytes=100, admit=lambda peer: None
    )
    made = Listener(loop, IDENTITY, endpoint, listening, Quotas(connections=2))
    yield made
    for connection in tuple(made.connections):
        connection.close()
    listening.close()


@contextlib.contextmanager
def connected(path: Path, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            clients.append(stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)))
            clients[-1].connect(str(path))
        yield clients


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """This process may open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open("/", os.O_PATH)  # the lowest number that is not in use
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_connections_are_counted_until_they_end(loop: Loop, path: Path, listener: Listener) -> None:
    def script() -> Script:
        with connected(path, 3) as clients:
            yield from Until(lambda: len(listener.connections) == 2)
            yield from rounds(3)
            assert b"CONNECTIONS (2)" in clients[2].recv(1000)
            clients[0].close()
            yield from Until(lambda: len(listener.connections) == 1)
            with connected(path, 1):
                yield from Until(lambda: len(listener.connections) == 2)

    play(loop, script())


def test_without_a_descriptor_the_next_client_waits(
    loop: Loop, clock: FakeClock, path: Path, listener: Listener
) -> None:
    """And is not asked for again and again: a service that has nothing to give has other work."""

    def script() -> Script:
        with connected(path, 1):
            with no_descriptor_left():
                yield from rounds(3)
                assert listener.connections == set()
                assert len(loop._epoll.poll(0)) == 1, "more than this script is ready"
            clock.advance(1)
            yield from Until(lambda: len(listener.connections) == 1)

    play(loop, script())
