"""When a client's ephemeral keys end, if nothing but its connections is seen of it.

As of one in another process namespace, whose pid the kernel gives as 0.
"""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from keyiso.errors import NCryptError
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.ephemeral_keys import EphemeralKeys
from keyiso.quotas import Quotas
from keyiso.server.identity import Identity
from keyiso.server.loop import Loop
from keyiso.server.peer import Peer, start_of
from keyiso.status import Status
from keyiso.store.ephemerals import EphemeralStore
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, play, rounds
from tests.unit.samples import header

GRACE = 100.0
IDENTITY = Identity("keyiso", b"i" * 16, b"b" * 16, 4711)
UNSEEN = Client(Peer(0, 1000, 1000, frozenset()), "unseen", b"g" * 32, b"c" * 16, lambda: True)
SEEN = dataclasses.replace(UNSEEN, peer=Peer(os.getpid(), 1000, 1000, frozenset()))
NOBODY: Any = None


def key(number: int) -> Any:
    return header(key_id=number.to_bytes(16, "big"), lifetime="ephemeral")


class Service:
    """The ephemeral keys of a service, whose clock a test turns."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.loop = Loop(self.clock)
        self.store = EphemeralStore(directory, b"b" * 16)
        quotas = Quotas(ephemeral_grace_seconds=GRACE, ephemerals_per_user=200)
        self.keys = EphemeralKeys(self.loop, IDENTITY, self.store, cast(Any, NOBODY), quotas)

    def after(self, seconds: float) -> None:
        """Let time pass, little by little."""

        def script() -> Script:
            for _ in range(20):
                self.clock.advance(seconds / 20)
                yield from rounds(3)

        self.loop._stopped = False  # it was played before
        play(self.loop, script())

    def alive(self, *numbers: int) -> list[bool]:
        return [self.store.is_alive(key(number).key_id) for number in numbers]

    def close(self) -> None:
        self.store.close()
        self.loop.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    yield made
    made.close()


def test_a_connected_client_keeps_its_keys(service: Service) -> None:
    service.keys.client_came(UNSEEN)
    service.keys.add(UNSEEN, key(1))
    service.after(20 * GRACE)

    assert service.alive(1) == [True]


def test_a_client_that_left_loses_them_after_a_while(service: Service) -> None:
    service.keys.client_came(UNSEEN)
    service.keys.add(UNSEEN, key(1))
    service.keys.client_left(UNSEEN)
    service.after(0.9 * GRACE)
    assert service.alive(1) == [True]

    service.after(0.5 * GRACE)
    assert service.alive(1) == [False]
    with pytest.raises(NCryptError) as caught:
        service.keys.check_alive(key(1))
    assert caught.value.status == Status.KEYISO_E_EPHEMERAL_GONE


def test_who_comes_back_in_time_loses_nothing(service: Service) -> None:
    service.keys.client_came(UNSEEN)
    service.keys.add(UNSEEN, key(1))
    service.keys.client_left(UNSEEN)
    service.after(0.9 * GRACE)
    service.keys.client_came(UNSEEN)
    service.after(20 * GRACE)

    assert service.alive(1) == [True]


def test_one_connection_of_several_is_enough(service: Service) -> None:
    for _ in range(3):
        service.keys.client_came(UNSEEN)
    service.keys.add(UNSEEN, key(1))
    for _ in range(2):
        service.keys.client_left(UNSEEN)
    service.after(20 * GRACE)
    assert service.alive(1) == [True]

    service.keys.client_left(UNSEEN)
    service.after(2 * GRACE)
    assert service.alive(1) == [False]


def test_a_process_that_runs_is_enough(service: Service) -> None:
    service.keys.client_came(SEEN)
    service.keys.add(SEEN, key(1))
    service.keys.client_left(SEEN)
    service.after(20 * GRACE)

    assert service.alive(1) == [True]


def test_another_service_learns_who_does_not_come(service: Service, tmp_path: Path) -> None:
    """One that was killed told it nothing."""
    there = dataclasses.replace(UNSEEN, group=b"h" * 32)
    for number, client in enumerate((UNSEEN, there, dataclasses.replace(SEEN, group=b"s" * 32))):
        service.keys.client_came(client)
        service.keys.add(client, key(number))
    service.store.close()
    another = Service(tmp_path)
    another.keys.client_came(there)
    another.after(3 * GRACE)

    assert another.alive(0, 1, 2) == [False, True, True]
    another.close()


def test_many_that_left_are_ended_little_by_little(service: Service) -> None:
    clients = [dataclasses.replace(UNSEEN, group=bytes([n]) * 32) for n in range(200)]
    for number, client in enumerate(clients):
        service.keys.client_came(client)
        service.keys.add(client, key(number))
        service.keys.client_left(client)
    service.after(2 * GRACE)

    assert not any(service.alive(*range(200)))
    assert service.store.count(1000) == 0


def test_clients_without_keys_leave_nothing_behind(service: Service) -> None:
    for number in range(50):
        client = dataclasses.replace(UNSEEN, group=bytes([number]) * 32)
        service.keys.client_came(client)
        service.keys.client_left(client)

    assert not service.keys._left
    assert not service.keys._connections


def test_a_list_that_cannot_be_used_ends_nothing_and_is_asked_again(
    service: Service, tmp_path: Path
) -> None:
    service.keys.client_came(UNSEEN)
    service.keys.add(UNSEEN, key(1))
    service.store.close()
    (path,) = tmp_path.glob("*.sqlite3")
    right = path.read_bytes()
    path.write_bytes(b"no database" * 100)
    service.keys.client_left(UNSEEN)
    service.keys.client_came(SEEN)
    service.keys.client_left(SEEN)
    service.after(2 * GRACE)

    path.write_bytes(right)
    assert service.alive(1) == [True]
    service.after(3 * GRACE)
    assert service.alive(1) == [False]


def test_a_process_is_told_from_another_one_with_its_number() -> None:
    """And from one that has ended and was not waited for."""
    assert start_of(os.getpid()) == start_of(os.getpid())
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

    assert start_of(child) is None
    os.waitpid(child, 0)
    assert start_of(child) is None
    assert start_of(0) is None
    assert start_of(1) != start_of(os.getpid())
