"""How long a service may be silent."""

import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.server.loop import Loop
from keyiso.supervisor import child
from keyiso.supervisor.child import Child
from keyiso.supervisor.patience import LONGEST_STARTING_SECONDS, STARTING_SECONDS, Patience
from keyiso.supervisor.spawn import ServiceSpec
from keyiso.supervisor.watchdog import TIMEOUT_SECONDS, extension_of
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, Until, play, rounds

DEADLINE_SECONDS = 10


@pytest.fixture
def patience() -> Patience:
    return Patience()


@pytest.fixture
def service(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: Patience
) -> Iterator[Child]:
    """One that says nothing."""

    def spawn(spec: ServiceSpec) -> int:
        return os.posix_spawnp("sleep", ["sleep", "600"], os.environ)

    monkeypatch.setattr(child, "spawn", spawn)
    spec = ServiceSpec("silent", "keyiso.silent", (), {}, None, tmp_path / "notify.sock")
    made = Child(loop, spec, lambda ended: None, patience=patience)
    yield made
    last = made.pid
    made.stop()
    made.kill()
    play(loop, noticed(made, last))


def noticed(service: Child, first: int) -> Script:
    """The end of a service that was killed, which may have been noticed already."""
    if service.pid == first:
        pidfd = os.pidfd_open(first)
        try:
            assert select.select([pidfd], [], [], DEADLINE_SECONDS)[0], "it was not ended"
        finally:
            os.close(pidfd)
    yield from Until(lambda: service.pid != first)


def test_a_service_that_was_too_slow_gets_more_time(
    loop: Loop, clock: FakeClock, service: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine may be so slow that no service is ever ready before it is ended."""

    def is_ended_after(seconds: float) -> Script:
        clock.advance(seconds - 1)
        yield from rounds(2)
        assert capsys.readouterr().err == ""
        first = service.pid
        clock.advance(1)
        yield from rounds(2)
        yield from noticed(service, first)
        yield from Until(lambda: service.pid)
        assert f"no sign of life for {seconds:g} s" in capsys.readouterr().err

    def script() -> Script:
        service.start()
        seconds = STARTING_SECONDS
        while seconds < LONGEST_STARTING_SECONDS:
            yield from is_ended_after(seconds)
            seconds *= 2
        for _ in range(2):
            yield from is_ended_after(LONGEST_STARTING_SECONDS)
        service.beat()
        yield from is_ended_after(TIMEOUT_SECONDS)
        service.beat()
        first = service.pid
        service.kill()
        yield from noticed(service, first)
        yield from Until(lambda: service.pid)
        capsys.readouterr()
        yield from is_ended_after(STARTING_SECONDS)

    play(loop, script())


def test_a_start_that_asks_for_more_time_gets_it_and_no_more(
    loop: Loop, clock: FakeClock, service: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    def script() -> Script:
        for asked, given in ((60.0, 60.0), (1e6, LONGEST_STARTING_SECONDS)):
            if not service.pid:
                service.start()
            clock.advance(STARTING_SECONDS - 1)
            service.extend(asked)
            clock.advance(given - 1)
            yield from rounds(2)
            assert capsys.readouterr().err == ""
            first = service.pid
            clock.advance(1)
            yield from rounds(2)
            yield from noticed(service, first)
            yield from Until(lambda: service.pid)
            assert f"no sign of life for {given:g} s" in capsys.readouterr().err
            service.beat()

    play(loop, script())


def test_a_slow_machine_is_known_by_what_other_services_took(
    loop: Loop,
    clock: FakeClock,
    service: Child,
    patience: Patience,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def script() -> Script:
        service.start()
        first = service.pid
        clock.advance(10)
        patience.kept(10.0)  # another one
        clock.advance(STARTING_SECONDS)
        yield from rounds(2)
        assert capsys.readouterr().err == ""
        clock.advance(patience.seconds - STARTING_SECONDS - 11)
        yield from rounds(2)
        assert capsys.readouterr().err == ""
        clock.advance(1)
        yield from rounds(2)
        yield from noticed(service, first)

    play(loop, script())


def test_the_worker_of_a_pair_is_named_when_it_serves(loop: Loop, tmp_path: Path) -> None:
    """Before that it has no roots: who ends its sibling now would end all that have them."""
    spec = ServiceSpec("vbs-0", "keyiso.x", (), {}, None, tmp_path / "notify.sock", is_pair=True)
    pair = Child(loop, spec, lambda ended: None)
    worker = os.posix_spawnp("sleep", ["sleep", "600"], os.environ)
    try:
        assert not pair.is_of(worker)
        pair.pid = os.getpid()  # its guardian: this process
        assert pair.is_of(worker)
        pair.extend(60.0)
        assert pair.status().worker_pid == 0
        pair.ready(worker)
        assert pair.status().worker_pid == worker
    finally:
        pair.pid = 0
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_services_learn_from_each_other() -> None:
    patience = Patience()
    patience.lost()
    assert patience.seconds == 2 * STARTING_SECONDS
    patience.kept(30.0)
    assert patience.seconds == 240.0
    patience.kept(0.3)
    assert patience.seconds == STARTING_SECONDS
    patience.kept(1e6)
    assert patience.seconds == LONGEST_STARTING_SECONDS


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        (b"EXTEND_TIMEOUT_USEC=60000000", 60.0),
        (b"EXTEND_TIMEOUT_USEC=", 0.0),
        (b"EXTEND_TIMEOUT_USEC=-1", 0.0),
        (b"EXTEND_TIMEOUT_USEC=1e9", 0.0),
        (b"EXTEND_TIMEOUT_USEC=" + b"9" * 13, 0.0),
        (b"WATCHDOG=1", 0.0),
    ],
)
def test_how_much_more_time_a_line_asks_for(line: bytes, seconds: float) -> None:
    assert extension_of(frozenset({b"STATUS=starting", line})) == seconds
