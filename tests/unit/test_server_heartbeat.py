"""Telling the supervisor that a service is there and goes round."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.server.heartbeat import BEATS_PER_TIMEOUT, start_heartbeat
from keyiso.server.loop import Loop
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, play, rounds


class Supervisor:
    """The other end."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address)

    def heard(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(autouse=True)
def sockets_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody closes a heartbeat, which ends with its process; here it ends with the test."""
    made: list[socket.socket] = []

    class Socket(socket.socket):
        def __init__(self, *arguments: int) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Socket)
    yield
    for one in made:
        one.close()


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Relative, because a test's directory may be too long for an address."""
    monkeypatch.chdir(tmp_path)
    return "notify.sock"


@pytest.fixture
def supervisor(path: str) -> Iterator[Supervisor]:
    made = Supervisor(path)
    yield made
    made.close()


def test_a_service_says_that_it_is_ready_and_beats(
    loop: Loop, clock: FakeClock, supervisor: Supervisor, path: str
) -> None:
    start_heartbeat(loop, {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "8000000"})
    assert supervisor.heard() == [b"READY=1", b"WATCHDOG=1"]

    def script() -> Script:
        for _ in range(5):
            clock.advance(8 / BEATS_PER_TIMEOUT - 0.001)
            yield from rounds(2)
            assert supervisor.heard() == []
            clock.advance(0.001)
            yield from rounds(2)
            assert supervisor.heard() == [b"WATCHDOG=1"]

    play(loop, script())


@pytest.mark.parametrize(
    "environ",
    [{}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}],
    ids=["no watchdog", "an empty one", "one for another process"],
)
def test_nobody_listens_for_beats(
    loop: Loop, clock: FakeClock, supervisor: Supervisor, path: str, environ: dict[str, str]
) -> None:
    start_heartbeat(loop, {"NOTIFY_SOCKET": path, **environ})

    def script() -> Script:
        clock.advance(1000)
        yield from rounds(3)

    play(loop, script())

    assert supervisor.heard() == [b"READY=1"]


def test_a_watchdog_for_this_process_is_one(loop: Loop, supervisor: Supervisor, path: str) -> None:
    own = {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())}
    start_heartbeat(loop, {"NOTIFY_SOCKET": path, **own})

    assert supervisor.heard() == [b"READY=1", b"WATCHDOG=1"]


def test_an_abstract_address_begins_with_an_at(loop: Loop) -> None:
    name = f"keyiso-test-{os.getpid()}"
    supervisor = Supervisor("\0" + name)
    start_heartbeat(loop, {"NOTIFY_SOCKET": "@" + name})
    heard = supervisor.heard()
    supervisor.close()

    assert heard == [b"READY=1"]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "nowhere.sock"}])
def test_without_a_supervisor_nothing_happens(
    loop: Loop, path: str, environ: dict[str, str]
) -> None:
    start_heartbeat(loop, {"WATCHDOG_USEC": "8000000", **environ})
