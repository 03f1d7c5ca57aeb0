"""Clients that are too many or ask too much: they cost the others a little time, and no answer.

While a flood goes on, a polite client is answered again and again, and when it is over the
services hold what they held before.
"""

import contextlib
import os
import select
import socket
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso import Key, limits
from keyiso.crypto.signatures import Padding
from keyiso.status import Status
from keyiso.wire.channel import Sign
from keyiso.wire.control import CreateKey, FindKey, GetServiceStatus, OpenKey, SetProperty
from keyiso.wire.messages import Call, Failure, Hello, Refusal, Return
from keyiso.wire.session import OUTSTANDING_CALLS
from tests.conformance.independent import digest
from tests.conformance.raw_client import PROVIDER, Ended, RawClient, message, terms, units
from tests.conformance.ready import wait_for_workers
from tests.instance import RunningInstance
from tests.limited import limited_instance
from tests.waiting import wait_until

FLOODERS = 4
DATA = b"data"
MEBIBYTE = 1 << 20


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[RunningInstance]:
    """An instance that soon drops silent clients, and in which nothing is restarted."""
    with limited_instance(tmp_path / "home", "HELLO_SECONDS=2") as running:
        wait_for_workers(running)
        before = running.pids()
        yield running
        assert running.pids() == before


@pytest.fixture
def key(instance: RunningInstance) -> Key:
    """The polite client's."""
    key = Key.create("web", "ECDSA_P256")
    is_answered(key)
    return key


def is_answered(key: Key) -> None:
    """By the KeyIso service and by a worker."""
    key.verify(key.sign(DATA), DATA)
    with Key.open("web") as again:
        again.verify(again.sign(DATA), DATA)


def descriptors(instance: RunningInstance) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in instance.pids().values())


def resident(instance: RunningInstance) -> int:
    """Bytes of memory that all processes have."""
    pages = (
        Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
        for pid in instance.pids().values()
    )
    return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def in_other_processes(count: int, work: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Do something in so many forked processes; what is yielded says whether some still run."""
    pidfds = {}
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            try:
                work()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        pidfds[pid] = os.pidfd_open(pid)

    def running() -> bool:
        ended, _, _ = select.select(list(pidfds.values()), [], [], 0)
        return len(ended) < count

    try:
        yield running
    finally:
        for pid, pidfd in pidfds.items():
            assert os.waitpid(pid, 0)[1] == 0, "a flooding process failed"
            os.close(pidfd)


# --- many calls --------------------------------------------------------------------------------


def flood(client: RawClient, operation: Any, count: int) -> None:
    """Ask for something again and again, without waiting for more answers than is needed."""
    window = OUTSTANDING_CALLS // 2
    frames = [message(Call(1000 + number, operation)) for number in range(window)]
    for _ in range(0, count, window):
        client.send(b"".join(frames))
        for _ in range(window):
            assert not isinstance(client.receive(), Failure | Refusal)


def flood_of(where: str, path: Path, count: int) -> None:
    with RawClient.bound(path) as client:
        if where == "control":
            flood(client, FindKey(PROVIDER, "user", units("web")), count)
            return
        channel, attached = client.attach()
        slot = client.call(
            OpenKey(PROVIDER, "user", units("web"), attached.channel_id, attached.worker_instance)
        ).slot
        flood(channel, Sign(slot, digest("SHA256"), Padding()), count)


@pytest.mark.parametrize("where", ["control", "channel"])
@pytest.mark.parametrize(
    "frames", [40_000, pytest.param(1_000_000, marks=pytest.mark.soak)], ids=["", "a million"]
)
def test_a_flood_of_calls(
    instance: RunningInstance,
    key: Key,
    where: str,
    frames: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, memory, polite = instance.instance.control_socket, resident(instance), 0

    def work() -> None:
        flood_of(where, path, frames // FLOODERS)

    with in_other_processes(FLOODERS, work) as running:
        while running():
            is_answered(key)
            polite += 1
    grown = resident(instance) - memory
    with capsys.disabled():
        print(
            f"\n  {frames} calls ({where}): {polite} polite requests answered meanwhile,"
            f" all services together grew by {grown / MEBIBYTE:.1f} MiB"
        )

    assert polite > 2
    assert grown < 64 * MEBIBYTE


def test_more_at_once_than_anybody_may_ask(instance: RunningInstance, key: Key) -> None:
    """Who sends without reading a single answer is told so, and may come again and do the same."""
    path = instance.instance.control_socket
    frames = b"".join(
        message(Call(1000 + number, GetServiceStatus())) for number in range(50 * OUTSTANDING_CALLS)
    )

    def work() -> None:
        for _ in range(20):
            with RawClient.bound(path) as client, contextlib.suppress(OSError):
                client.send(frames)

    with in_other_processes(FLOODERS, work) as running:
        while running():
            is_answered(key)


def test_many_clients_that_each_ask_for_much(instance: RunningInstance, key: Key) -> None:
    """Far more at once than the KeyIso service may ask of a worker: each of them is answered."""
    path, each = instance.instance.control_socket, 32
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient.bound(path)) for _ in range(100)]
        for client in clients:
            calls = (Call(1000 + number, CreateKey(terms())) for number in range(each))
            client.send(b"".join(map(message, calls)))
        is_answered(key)

        for client in clients:
            for _ in range(each):
                assert isinstance(client.receive(), Return)


def test_many_large_values(instance: RunningInstance, key: Key) -> None:
    """What a user may have in the services' memory is bounded; within it all are stored."""
    path, count, each = instance.instance.control_socket, 10, 4
    memory, most = resident(instance), 0

    def work() -> None:
        name = f"of {os.getpid()}"
        with RawClient.bound(path) as client:
            key_id = client.call(CreateKey(terms(name))).header.key_id
            for number in range(each):
                value = bytes([number]) * limits.PROPERTY_BYTES
                which = units(name), key_id, units("property")
                call = SetProperty(os.urandom(16), PROVIDER, "user", *which, value)
                client.send(message(Call(1000 + number, call)))
            for _ in range(each):
                answer = client.receive()
                assert isinstance(answer, Return) or "_PER_USER" in answer.cause, answer

    with in_other_processes(count, work) as running:
        while running():
            is_answered(key)
            most = max(most, resident(instance) - memory)
    assert most < 4 * limits.CALL_BYTES_PER_USER


# --- many clients ------------------------------------------------------------------------------


def test_a_thousand_that_say_nothing(instance: RunningInstance, key: Key) -> None:
    """They are told and dropped after a while, and nothing is left of them."""
    before = descriptors(instance)
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(1000)]
    for number, one in enumerate(silent):
        one.connect(str(instance.instance.control_socket))
        if number % 100 == 0:
            is_answered(key)
    is_answered(key)

    for number, one in enumerate(silent):
        with RawClient(one, None) as client:
            answer = client.receive()
            assert isinstance(answer, Refusal)
            assert (answer.status, "HELLO_SECONDS" in answer.cause) == (Status.KEYISO_E_LIMIT, True)
            with pytest.raises(Ended):
                client.receive()
        if number % 100 == 0:
            is_answered(key)
    wait_until(lambda: descriptors(instance) <= before + 10, "the end of the silent ones")


def test_clients_that_come_and_go(instance: RunningInstance, key: Key) -> None:
    """At once, in the middle of a hello, after it; without a word of goodbye."""
    path = instance.instance.control_socket
    hello = message(Hello(1, 1, "raw client"))
    before = descriptors(instance)

    def work() -> None:
        for number in range(1000):
            # Where the backlog is full, who does not want to wait is told so.
            with contextlib.suppress(BlockingIOError), RawClient.at(path) as client:
                client.send(hello[: number % (len(hello) + 1)])

    with in_other_processes(FLOODERS, work) as running:
        while running():
            is_answered(key)
    wait_until(lambda: descriptors(instance) <= before + 10, "the end of those who have gone")
