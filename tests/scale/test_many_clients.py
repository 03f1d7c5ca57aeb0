"""A thousand clients that are connected, and a few real ones among them.

Each has a connection to the KeyIso service, a key channel and a loaded key, and uses it.
"""

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from keyiso import Key
from keyiso.crypto.signatures import Padding
from keyiso.wire.channel import Sign, Signature
from keyiso.wire.control import CreateKey, GetServiceStatus, OpenEphemeral, ServiceStatus
from tests.conformance.independent import digest
from tests.conformance.raw_client import RawClient, terms
from tests.conformance.ready import wait_for_workers
from tests.instance import RunningInstance
from tests.waiting import wait_until

CLIENTS = 1000
PROCESSES = 8
DIGEST = digest("SHA256")
MEBIBYTE = 1 << 20


@dataclass
class Connected:
    """One of the thousand."""

    control: RawClient
    channel: RawClient
    slot: int

    def sign(self) -> None:
        assert isinstance(self.channel.call(Sign(self.slot, DIGEST, Padding())), Signature)


def connect(path: Path) -> Connected:
    control = RawClient.bound(path)
    key = control.call(CreateKey(terms()))
    channel, attached = control.attach()
    opening = OpenEphemeral(key.blob, attached.channel_id, attached.worker_instance)
    return Connected(control, channel, control.call(opening).slot)


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Enough of them in this process for all clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CLIENTS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"a process may open {hard} files here; {wanted} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(instance: RunningInstance) -> dict[str, float]:
    """MiB of memory of each service."""
    found = {}
    for service, pid in instance.pids().items():
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
        found[service] = int(pages) * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE
    return found


def status(instance: RunningInstance) -> ServiceStatus:
    with RawClient.bound(instance.instance.control_socket) as client:
        answer = client.call(GetServiceStatus())
    assert isinstance(answer, ServiceStatus)
    return answer


def milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(50):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


REAL_CLIENT = """
import sys
from keyiso import Key
key = Key.create(sys.argv[1], "ECDSA_P256")
ephemeral = Key.create(None, "RSA")
print("ready", flush=True)
for _ in sys.stdin:
    for one in (key, ephemeral):
        one.verify(one.sign(b""), b"")
    with Key.open(sys.argv[1]) as opened:
        assert opened.unique_name == key.unique_name
    print("worked", flush=True)
"""


@contextlib.contextmanager
def real_clients(instance: RunningInstance) -> Iterator[Callable[[], None]]:
    """Processes with the library; what is yielded has each of them work, all at the same time."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", REAL_CLIENT, f"of process {number}"],
            env=instance.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]

    def heard(what: str) -> None:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == f"{what}\n"

    def work() -> None:
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        heard("worked")

    try:
        heard("ready")
        yield work
    finally:
        for child in children:
            child.communicate()


@pytest.mark.usefixtures("descriptors")
def test_a_thousand_clients(instance: RunningInstance, capsys: pytest.CaptureFixture[str]) -> None:
    wait_for_workers(instance)
    path, processes = instance.instance.control_socket, instance.pids()
    key = Key.create("polite", "ECDSA_P256")

    def new_and_old() -> None:
        key.sign(b"")
        Key.open("polite").close()

    new_and_old()
    memory, alone = resident(instance), milliseconds(new_and_old)
    with contextlib.ExitStack() as stack, real_clients(instance) as work:
        clients = [connect(path) for _ in range(CLIENTS)]
        for client in clients:
            stack.enter_context(client.control)
        work()
        among = milliseconds(new_and_old)
        found = status(instance)
        assert found.clients >= CLIENTS + PROCESSES
        assert sum(worker.channels for worker in found.workers) >= CLIENTS + PROCESSES
        for _ in range(2):
            for client in clients:
                client.sign()
            work()
        grown = {
            service: mebibytes - memory[service]
            for service, mebibytes in resident(instance).items()
        }
        with capsys.disabled():
            print(
                f"\n  sign and open: {alone:.2f} ms alone, {among:.2f} ms among {CLIENTS} clients;"
                f" services grew by {', '.join(f'{s} {m:.1f}' for s, m in grown.items())} MiB"
            )
        assert instance.pids() == processes

        # They are not in the way of those who come back after a crash of everything behind them.
        instance.kill(*(service for service in processes if service != "supervisor"))
        work()
        new_and_old()

    def all_gone() -> bool:
        left = status(instance)
        return left.clients <= 2 and sum(worker.channels for worker in left.workers) <= 2

    wait_until(all_gone, "the end of all clients")
    assert sum(grown.values()) < 200
