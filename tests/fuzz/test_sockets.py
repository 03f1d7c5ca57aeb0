"""Mutated frames to running services: each ends with a status or a closed connection, and the same
processes go on serving.

``KEYISO_FUZZ_FRAMES`` is how many inputs each kind of connection gets.
"""

import os
import random
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyiso import Key
from keyiso.status import Status, status_name
from keyiso.wire.channel import Ping
from keyiso.wire.control import FindKey, OpenKey
from keyiso.wire.link import GetWorkerStatus
from keyiso.wire.messages import Call, Failure, Operation, Refusal, Return
from tests.conformance.raw_client import PROVIDER, Ended, RawClient, message, terms, units
from tests.fuzz.mutations import mutated, with_other_values
from tests.fuzz.parser import SEED
from tests.fuzz.wire_parsers import OPERATIONS, reframed
from tests.instance import RunningInstance
from tests.restart.victims import Victims, wait_until

pytestmark = pytest.mark.fuzz

FRAMES = int(os.environ.get("KEYISO_FUZZ_FRAMES", "1000"))
MOST_BYTES = 8 << 20
"""What a service may grow by while it gets half of the frames."""

POLITE_CALL = 1_000_000
NAME = "polite"

OTHER_NAME = "made by a frame"
"""A changed frame may well overwrite a key, or delete it."""


class Target:
    """A kind of connection, opened again and again."""

    def __init__(self, instance: RunningInstance) -> None:
        self.instance = instance.instance

    polite: Operation[Any]
    """What a connection that is still there answers."""

    def open(self) -> RawClient:
        """A connection that is ready for calls."""
        raise NotImplementedError

    def operations(self) -> list[Operation[Any]]:
        """Good ones. None makes RSA keys, as a mutation could make one that takes minutes."""
        raise NotImplementedError

    def send(self, client: RawClient, data: bytes, rng: random.Random) -> None:
        client.send(data)


class Control(Target):
    polite = FindKey(PROVIDER, "user", units("no such key"))

    def open(self) -> RawClient:
        return RawClient.bound(self.instance.control_socket)

    def operations(self) -> list[Operation[Any]]:
        return [with_quick_keys(one) for one in OPERATIONS["control"]]


class Channel(Target):
    polite = Ping()

    def open(self) -> RawClient:
        control = RawClient.bound(self.instance.control_socket)
        channel, attached = control.attach()
        opened = control.call(
            OpenKey(PROVIDER, "user", units(NAME), attached.channel_id, attached.worker_instance)
        )
        self._slot = opened.slot
        control._channels.clear()  # the channel outlives the connection that it came over
        control.close()
        return channel

    def operations(self) -> list[Operation[Any]]:
        return [
            msgspec.structs.replace(one, slot=self._slot) if hasattr(one, "slot") else one
            for one in OPERATIONS["channel"]
        ]


class Link(Target):
    polite = GetWorkerStatus()
    worker = "software-0"

    def open(self) -> RawClient:
        client = RawClient.at(self.instance.workers / f"{self.worker}.sock")
        client.hello()
        return client

    def operations(self) -> list[Operation[Any]]:
        return [with_quick_keys(one) for one in OPERATIONS["link"]]

    def send(self, client: RawClient, data: bytes, rng: random.Random) -> None:
        """With none, one or some descriptors, which need not be sockets."""
        ours, theirs = socket.socketpair()
        with open(os.devnull, "rb") as nothing, ours, theirs:
            descriptors = [
                rng.choice((nothing, theirs)).fileno() for _ in range(rng.choice((0, 0, 1, 3)))
            ]
            socket.send_fds(client.socket, [data or b"\0"], descriptors)


class LinkOfContainers(Link):
    worker = "software-generator"


def with_quick_keys(operation: Operation[Any]) -> Operation[Any]:
    if not hasattr(operation, "terms"):
        return operation
    return msgspec.structs.replace(operation, terms=terms(OTHER_NAME))


def frames(target: Target) -> list[bytes]:
    calls = [Call(number, one) for number, one in enumerate(target.operations(), 1)]
    return [message(call) for call in calls]


def send_whole_frames(target: Target, client: RawClient, rng: random.Random) -> None:
    """One mutated frame of the right length; what is asked afterwards is answered, unless the
    connection is closed.
    """
    change = rng.choice((mutated, with_other_values))
    target.send(client, reframed(change(rng, frames(target))), rng)
    client.send(message(Call(POLITE_CALL, target.polite)))
    while True:
        answer = heard(client)
        if isinstance(answer, Return | Failure) and answer.call_id == POLITE_CALL:
            return


def send_bytes(target: Target, client: RawClient, rng: random.Random) -> None:
    """Mutated bytes, and then no more."""
    target.send(client, mutated(rng, frames(target)), rng)
    client.socket.shutdown(socket.SHUT_WR)
    while True:
        heard(client)


def heard(client: RawClient) -> Any:
    """An answer: a success, or a status that says what is wrong with the question."""
    answer = client.receive()
    if isinstance(answer, Failure | Refusal):
        assert status_name(answer.status) in Status.__members__
        assert answer.status != Status.NTE_INTERNAL_ERROR, answer
    return answer


def fuzz(target: Target, count: int, rng: random.Random) -> None:
    client = target.open()
    for _ in range(count):
        try:
            rng.choice((send_whole_frames, send_bytes))(target, client, rng)
        except (Ended, BrokenPipeError):
            client.close()
            client = target.open()
    client.close()


def memory(instance: RunningInstance) -> dict[str, int]:
    """Bytes that each process occupies."""
    return {
        service: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
        for service, pid in instance.pids().items()
    }


def descriptors(instance: RunningInstance) -> dict[str, int]:
    """How many each process has. Only root may look, as nobody may trace them."""
    if os.geteuid() != 0:
        return {}
    return {service: len(os.listdir(f"/proc/{pid}/fd")) for service, pid in instance.pids().items()}


@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")
@pytest.mark.parametrize(
    "kind", [Control, Channel, Link, LinkOfContainers], ids=lambda kind: kind.__name__
)
def test_the_same_services_serve_on(
    instance: RunningInstance, kind: Callable[[RunningInstance], Target], seed: int
) -> None:
    key = Key.create(NAME, "ECDSA_P256")
    key.verify(key.sign(b"data"), b"data")
    Victims(instance).settle()
    Victims(instance, "vbs").settle()  # a frame may ask for pairs: those that are there serve on
    pids, open_before = instance.pids(), descriptors(instance)
    rng = random.Random(f"{seed} {kind}")
    target = kind(instance)

    fuzz(target, FRAMES // 2, rng)
    before = memory(instance)
    fuzz(target, FRAMES - FRAMES // 2, rng)

    assert instance.pids() == pids
    grown = {name: size - before[name] for name, size in memory(instance).items()}
    assert max(grown.values()) < MOST_BYTES, grown
    assert "unexpected" not in instance.instance.log.read_text()
    wait_until(
        # What was counted first may have been about to be closed.
        lambda: all(count <= open_before[name] for name, count in descriptors(instance).items()),
        "a service keeps descriptors",
    )
    key.verify(key.sign(b"data"), b"data")
    with Key.create("another", "ECDSA_P256") as another:
        another.delete()
