"""What is full refuses, says by which limit, and goes on serving those who are within theirs.

Each limit is lowered as an administrator may lower it, and reached by real clients of real
services. Limits that belong to one user are reached by one user while another is served.
"""

import contextlib
import itertools
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyiso import Key, limits
from keyiso.status import Status, status_name
from keyiso.wire.control import (
    Attach,
    Attached,
    Bind,
    FindKey,
    GetServiceStatus,
    ServiceStatus,
    SetProperty,
)
from keyiso.wire.messages import Call, Hello, Refusal, Return
from keyiso.wire.results import Done
from tests.conformance.raw_client import PROVIDER, Ended, RawClient, message, units
from tests.conformance.ready import wait_for_workers
from tests.conformance.statuses import fails
from tests.conformance.world import ALICE, BOB, SystemInstance, World
from tests.instance import RunningInstance, in_use
from tests.limited import limited, limited_instance
from tests.waiting import wait_until

DATA = b"data"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")

Start = Callable[..., RunningInstance]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts an instance of our own with lowered limits, all of it up."""
    with contextlib.ExitStack() as running:

        def start(*settings: str) -> RunningInstance:
            instance = running.enter_context(limited_instance(tmp_path / "home", *settings))
            wait_for_workers(instance)
            return instance

        yield start


@pytest.fixture
def start_system(python: Path, homes: Path, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Starts a system instance with one worker and lowered limits, all of it up."""
    with contextlib.ExitStack() as running:

        def start(*settings: str) -> World:
            options = ("--workers=1", *limited(*settings))
            home = homes / tmp_path.name
            instance = running.enter_context(in_use(SystemInstance(home, python, options)))
            wait_for_workers(instance)
            return World(python, instance.home)

        yield start


def works(key: Key) -> None:
    key.verify(key.sign(DATA), DATA)


def refused(client: RawClient, limit: str) -> None:
    """The server says which limit it is, and hangs up."""
    answer = client.receive()
    assert isinstance(answer, Refusal), answer
    assert (status_name(answer.status), limit in answer.cause) == ("KEYISO_E_LIMIT", True), answer
    with pytest.raises(Ended):
        client.receive()


OUTCOME = """
def limit_of(answer):
    "What a client got: the result's type, or the limit that it met."
    if not hasattr(answer, 'cause'):
        return type(answer).__name__
    assert status_name(answer.status) == 'KEYISO_E_LIMIT', answer
    return next(word for word in answer.cause.split() if word.isupper() and '_' in word)
"""

POLITE = "key = Key.create(None, 'ECDSA_P256'); key.sign(b''); key.close(); tell('served')"


# --- connections -------------------------------------------------------------------------------


def test_connections(start: Start) -> None:
    most = 10
    instance = start(f"CONNECTIONS={most}")
    key = Key.create("web", "ECDSA_P256")
    path = instance.instance.control_socket
    with contextlib.ExitStack() as open_ones:
        clients = [open_ones.enter_context(RawClient.bound(path)) for _ in range(most - 1)]
        for _ in range(3):
            with RawClient.at(path) as late:
                refused(late, f"the service has reached CONNECTIONS ({most})")
        assert library_says(instance) == "KEYISO_E_LIMIT"

        for client in clients:
            assert isinstance(client.call(GetServiceStatus()), ServiceStatus)
        works(key)
        clients.pop().close()
        wait_until(lambda: library_says(instance) == "served", "room for another client")


def library_says(instance: RunningInstance) -> str:
    """What another process hears that uses a key."""
    code = """
from keyiso import Key, NCryptError
from keyiso.status import status_name
try:
    with Key.create(None, "ECDSA_P256") as key:
        key.sign(b"")
    print("served")
except NCryptError as error:
    print(status_name(error.status))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=instance.environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_root
def test_connections_of_a_user(start_system: Callable[..., World]) -> None:
    world = start_system("CONNECTIONS_PER_USER=5")
    greedy = (
        OUTCOME
        + """
clients = [raw_client.RawClient.bound(control()) for _ in range(5)]
late = raw_client.RawClient.at(control())
tell(limit_of(late.receive()))
wait()
tell(limit_of(clients[0].call(clients[0].harmless)))
"""
    )
    with world.start(ALICE, greedy) as alice:
        assert alice.told() == "CONNECTIONS_PER_USER"
        assert world.run(BOB, POLITE) == "served"
        alice.go_on()
        assert alice.told() == "ServiceStatus"


class FewDescriptors(RunningInstance):
    """An instance whose processes may open little."""

    DESCRIPTORS = 130

    def start(self) -> None:
        number = self.DESCRIPTORS
        limited_start = "import os, resource, sys; " + (
            f"resource.setrlimit(resource.RLIMIT_NOFILE, ({number}, {number})); "
            "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
        )
        subprocess.run(
            [
                *(sys.executable, "-c", limited_start),
                *("-I", "-m", "keyiso.supervisor", "--detach"),
            ],
            env=self.environ,
            check=True,
        )


def test_a_service_with_few_descriptors_serves_few_clients(tmp_path: Path) -> None:
    """And refuses the others, instead of having no descriptor left for what it must do."""
    with contextlib.ExitStack() as stack:
        instance = stack.enter_context(in_use(FewDescriptors(tmp_path / "home")))
        wait_for_workers(instance)
        key = Key.create("web", "ECDSA_P256")
        path = instance.instance.control_socket
        clients: list[RawClient] = []
        for _ in range(FewDescriptors.DESCRIPTORS):
            client = stack.enter_context(RawClient.at(path))
            with contextlib.suppress(BrokenPipeError):  # who is refused at once is hung up on
                client.send(message(Hello(1, 1, "raw client")))
            answer = client.receive()
            if isinstance(answer, Refusal):
                break
            client.call(Bind(os.urandom(16), "raw client"))
            assert isinstance(client.call(Attach()), Attached)
            clients.append(client)

        assert isinstance(answer, Refusal), answer
        assert "CONNECTIONS_PER_USER" in answer.cause
        assert 10 < len(clients) < FewDescriptors.DESCRIPTORS // 2
        works(key)


# --- key channels ------------------------------------------------------------------------------


@needs_root
def test_key_channels(start_system: Callable[..., World]) -> None:
    """Of a connection, of a user, of a worker."""
    world = start_system(
        "CHANNELS_PER_CONNECTION=2", "CHANNELS_PER_USER=4", "CHANNELS_PER_WORKER=6"
    )
    code = (
        OUTCOME
        + """
from keyiso.wire.control import Attach
clients = [raw_client.RawClient.bound(control()) for _ in range(3)]
told = []
for client in clients:
    told.append([limit_of(client.call(Attach())) for _ in range(3)])
tell(told)
wait()
clients[0].close()
tell('closed')
wait()
"""
    )
    with world.start(ALICE, code) as alice:
        assert alice.told() == [
            ["Attached", "Attached", "CHANNELS_PER_CONNECTION"],
            ["Attached", "Attached", "CHANNELS_PER_USER"],
            ["CHANNELS_PER_USER"] * 3,
        ]
        with world.start(BOB, code) as bob:
            assert bob.told() == [
                ["Attached", "Attached", "CHANNELS_PER_WORKER"],
                ["CHANNELS_PER_WORKER"] * 3,
                ["CHANNELS_PER_WORKER"] * 3,
            ]
            with fails(Status.KEYISO_E_LIMIT) as caught:
                Key.create(None, "ECDSA_P256").sign(DATA)
            assert "CHANNELS_PER_WORKER (6)" in caught.value.cause
            alice.go_on()
            assert alice.told() == "closed"
            wait_until(signs, "room for another key channel")
            bob.go_on()
            alice.go_on()


def signs() -> bool:
    try:
        Key.create(None, "ECDSA_P256").sign(DATA)
    except Exception as error:
        assert getattr(error, "status", 0) == Status.KEYISO_E_LIMIT
        return False
    return True


def test_a_channel_that_ended_is_not_counted(start: Start) -> None:
    instance = start("CHANNELS_PER_CONNECTION=2")
    with RawClient.bound(instance.instance.control_socket) as client:
        for _ in range(20):
            channel, _ = client.attach()
            channel.close()
            # The worker has seen the end once it answers on another channel.
            wait_until(lambda: _channels(client) == 0, "the end of the channel")


def _channels(client: RawClient) -> int:
    return sum(worker.channels for worker in client.call(GetServiceStatus()).workers)


# --- bytes -------------------------------------------------------------------------------------

HALF = 60_000
"""Bytes of a frame that is never finished."""


@pytest.mark.parametrize("where", ["control", "channel"])
def test_half_sent_frames(start: Start, where: str) -> None:
    instance = start(f"HALF_SENT_BYTES_PER_USER={3 * HALF + 1000}")
    key = Key.create("web", "ECDSA_P256")
    works(key)
    with contextlib.ExitStack() as open_ones:

        def half_a_frame() -> RawClient:
            client = open_ones.enter_context(RawClient.bound(instance.instance.control_socket))
            if where == "channel":
                client = channel_to_first_worker(client)
            client.send(struct.pack("<I", HALF + 10) + bytes(HALF - 4))
            return client

        holding = [half_a_frame() for _ in range(3)]
        refused(half_a_frame(), "HALF_SENT_BYTES_PER_USER")
        works(key)
        assert library_says(instance) == "served"

        holding.pop().close()
        again = half_a_frame()
        again.socket.setblocking(False)
        works(key)
        with pytest.raises(BlockingIOError):
            again.receive()


def channel_to_first_worker(client: RawClient) -> RawClient:
    """They are given out in turn, and each worker counts for itself."""
    while True:
        channel, attached = client.attach()
        if attached.worker == "software-0":
            return channel


class Deaf:
    """A client that asks and never reads."""

    def __init__(self, client: RawClient) -> None:
        client.socket.setblocking(False)
        self._socket = client.socket
        self._unsent = b""
        self._calls = (
            message(Call(number, FindKey(PROVIDER, "user", units("web"))))
            for number in itertools.count(1000)
        )
        self.dropped = False

    def ask(self) -> None:
        """As much as the server takes."""
        try:
            while True:
                self._unsent = self._unsent or next(self._calls)
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.dropped = True


def test_answers_that_nobody_reads(start: Start) -> None:
    """Who asks and does not read is dropped when the answers get too many; others are not."""
    instance = start("UNSENT_BYTES_PER_USER=100000")
    key = Key.create("web", "ECDSA_P256")
    path = instance.instance.control_socket
    with contextlib.ExitStack() as open_ones:
        deaf = [Deaf(open_ones.enter_context(RawClient.bound(path))) for _ in range(3)]

        def all_are_dropped() -> bool:
            for client in deaf:
                client.ask()
            works(key)
            assert library_says(instance) == "served"
            return all(client.dropped for client in deaf)

        wait_until(all_are_dropped, "the end of those who do not read")


# --- work --------------------------------------------------------------------------------------

MANY_GENERATIONS = (
    OUTCOME
    + """
from collections import Counter
from keyiso.wire.messages import Call, Hello, Refusal, Return
from keyiso.wire.control import CreateKey
client = raw_client.RawClient.bound(control())
rsa = lambda: CreateKey(raw_client.terms(algorithm='RSA', bits=2048))
client.send(b''.join(raw_client.message(Call(100 + n, rsa())) for n in range(20)))
refused = [client.receive() for _ in range({refused})]
tell([limit_of(answer) for answer in refused])
wait()
tell(Counter(type(client.receive()).__name__ for _ in range(20 - {refused})))
tell(type(client.call(rsa())).__name__)
"""
)
POLITE_RSA = "key = Key.create(None, 'RSA'); key.sign(b''); tell('served')"


@needs_root
@pytest.mark.parametrize(
    ("limit", "waiting", "at_work"), [("GENERATIONS_PER_USER", 3, 1), ("CALLS_PER_USER", 5, 0)]
)
def test_keys_that_wait_to_be_made(
    start_system: Callable[..., World], limit: str, waiting: int, at_work: int
) -> None:
    """Above the limit a request is refused at once; those within it are all made."""
    world = start_system(f"{limit}={waiting}")
    count = 20 - waiting - at_work
    with world.start(ALICE, MANY_GENERATIONS.format(refused=count)) as alice:
        assert alice.told() == [limit] * count
        assert world.run(BOB, POLITE_RSA) == "served"
        alice.go_on()
        assert alice.told() == {"Return": 20 - count}
        assert alice.told() == "Created"


def test_bytes_of_calls(start: Start) -> None:
    """Properties that are being stored, say: those above the limit are refused, not the others."""
    instance = start(f"CALL_BYTES_PER_USER={2 * limits.PROPERTY_BYTES + 10_000}")
    key = Key.create("web", "ECDSA_P256")
    works(key)
    workers = [pid for service, pid in instance.pids().items() if service.startswith("software")]
    key_id = bytes.fromhex(key.unique_name)
    value = bytes(limits.PROPERTY_BYTES)

    def setting() -> SetProperty:
        name = units("web")
        return SetProperty(os.urandom(16), PROVIDER, "user", name, key_id, units("p"), value)

    with RawClient.bound(instance.instance.control_socket) as client:
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            for number in range(4):
                client.send(message(Call(1000 + number, setting())))
            refusals = [client.receive() for _ in range(2)]
        finally:
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
        stored = [client.receive() for _ in range(2)]

        assert [answer.call_id for answer in refusals] == [1002, 1003]
        assert all("CALL_BYTES_PER_USER" in answer.cause for answer in refusals)
        assert sorted(answer.call_id for answer in stored) == [1000, 1001]
        assert all(isinstance(answer, Return) for answer in stored)
        assert isinstance(client.call(setting()), Done)
    works(key)


# --- keys --------------------------------------------------------------------------------------


@needs_root
def test_stored_keys(start_system: Callable[..., World]) -> None:
    """At the limit a key can still be overwritten, used and deleted."""
    world = start_system("KEYS_PER_USER=3")
    code = """
def tried(work):
    try:
        work()
    except NCryptError as error:
        assert 'KEYS_PER_USER (3)' in error.cause, error
        return status_name(error.status)
    return 'made'

def create(name, **options):
    return tried(lambda: Key.create(name, 'ECDSA_P256', **options))

tell([create(name) for name in 'abcde'])
tell(create('f', overwrite=True))
tell(create('b', overwrite=True))
Key.open('a').delete()
tell([create(name) for name in 'ab'[:1] + 'g'])
tell(outcome(lambda: Key.open('b').sign(b'') and 'signed'))
wait()
"""
    with world.start(ALICE, code) as alice:
        assert alice.told() == ["made"] * 3 + ["KEYISO_E_LIMIT"] * 2
        assert alice.told() == "KEYISO_E_LIMIT"
        assert alice.told() == "made"
        assert alice.told() == ["made", "KEYISO_E_LIMIT"]
        assert alice.told() == "signed"
        made = "Key.create('of bob', 'RSA'); tell('made')"
        assert world.run(BOB, made) == "made"
        Key.create("of the machine", "ECDSA_P256", machine=True)
        alice.go_on()


@needs_root
def test_changes_in_a_short_time(start_system: Callable[..., World]) -> None:
    """Creating, overwriting and deleting: each is remembered for a while."""
    world = start_system("OPERATION_IDS_PER_USER=5")
    code = """
def limited(work):
    try:
        work()
    except NCryptError as error:
        assert 'OPERATION_IDS_PER_USER (5)' in error.cause, error
        return status_name(error.status)
    return 'done'

key = Key.create('kept', 'ECDSA_P256')
for _ in range(4):
    key = Key.create('kept', 'ECDSA_P256', overwrite=True)
tell([
    limited(lambda: Key.create('new', 'ECDSA_P256')),
    limited(lambda: Key.create('kept', 'ECDSA_P256', overwrite=True)),
    limited(lambda: key.delete()),
])
key = Key.open('kept')
tell(outcome(lambda: key.sign(b'') and Key.create(None, 'RSA').sign(b'') and 'signed'))
wait()
"""
    with world.start(ALICE, code) as alice:
        assert alice.told() == ["KEYISO_E_LIMIT"] * 3
        assert alice.told() == "signed"
        assert world.run(BOB, "Key.create('of bob', 'ECDSA_P256'); tell('made')") == "made"
        alice.go_on()


@needs_root
def test_loaded_keys(start_system: Callable[..., World]) -> None:
    """Who loads many pushes out his own: another user's slot stays as it is."""
    room = 10
    world = start_system(f"LOADED_KEY_BYTES={room * (limits.LOADED_EC_BYTES + 91)}")
    modest = """
from keyiso.crypto.signatures import Padding
from keyiso.wire.channel import Sign
from keyiso.wire.control import CreateKey, OpenEphemeral
client = raw_client.RawClient.bound(control())
blob = client.call(CreateKey(raw_client.terms())).blob
channel, attached = client.attach()
slot = client.call(OpenEphemeral(blob, attached.channel_id, attached.worker_instance)).slot
tell('loaded')
wait()
tell(type(channel.call(Sign(slot, bytes(32), Padding()))).__name__)
"""
    greedy = """
keys = [Key.create(None, 'ECDSA_P256') for _ in range(50)]
for _ in range(3):
    for key in keys:
        key.verify(key.sign(b''), b'')
tell('served')
"""
    with world.start(BOB, modest) as bob:
        assert bob.told() == "loaded"
        assert world.run(ALICE, greedy) == "served"
        bob.go_on()
        assert bob.told() == "Signature"


def test_a_key_that_is_larger_than_all_loaded_keys_may_be(start: Start) -> None:
    start(f"LOADED_KEY_BYTES={limits.LOADED_EC_BYTES + 200}")

    with fails(Status.NTE_NO_MEMORY):
        Key.create("large", "RSA").sign(DATA)
    small = [Key.create(f"small {number}", "ECDSA_P256") for number in range(3)]
    for key in small * 2:
        works(key)


# --- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["control", "channel"])
def test_who_does_not_say_hello(start: Start, where: str) -> None:
    instance = start("HELLO_SECONDS=0.5")
    path = instance.instance.control_socket
    with RawClient.bound(path) as client, RawClient.at(path) as silent:
        late = client.attach_silently()[0] if where == "channel" else silent
        refused(late, "HELLO_SECONDS")
        assert isinstance(client.call(client.harmless), ServiceStatus)


@pytest.mark.parametrize("where", ["control", "channel"])
def test_who_does_not_finish_a_frame(start: Start, where: str) -> None:
    instance = start("FRAME_SECONDS=0.5")
    with RawClient.bound(instance.instance.control_socket) as client:
        slow = client.attach()[0] if where == "channel" else client
        whole = message(Call(1000, slow.harmless))
        slow.send(whole)
        assert isinstance(slow.receive(), Return)
        slow.send(whole[:-1])
        refused(slow, "FRAME_SECONDS")


# --- setting limits ----------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["CONNECTIONS=1000000", "NO_SUCH_LIMIT=1", "CONNECTIONS=few"])
def test_a_limit_that_cannot_be_set_is_said_at_the_start(tmp_path: Path, setting: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "keyiso.supervisor", f"--limit={setting}"],
        env={**os.environ, "KEYISO_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert setting in done.stderr
    assert "Traceback" not in done.stderr
