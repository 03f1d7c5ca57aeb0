"""Work that takes long: nobody waits for somebody else's, and nobody's is done for nothing."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso import Key, Provider
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.signatures import Padding
from keyiso.wire.channel import Sign, Signature
from keyiso.wire.control import Attached, Created, CreateKey, GetImportKey, ImportKey, OpenEphemeral
from keyiso.wire.messages import Call, Return
from keyiso.wire.results import Opened
from keyiso.wire.session import OUTSTANDING_CALLS
from tests.conformance.independent import digest
from tests.conformance.raw_client import RawClient, message, terms
from tests.conformance.ready import wait_for_workers
from tests.conformance.world import ALICE, BOB, SystemInstance, World
from tests.instance import RunningInstance, in_use
from tests.long_rsa import long_rsa_numbers, pkcs8_of

DIGEST = digest("SHA256")
PKCS1 = Padding(2, "SHA256")
LONGEST = 16384

Connect = Callable[[], RawClient]


@pytest.fixture(autouse=True)
def nothing_was_restarted(shared_instance: RunningInstance) -> Iterator[None]:
    wait_for_workers(shared_instance)
    before = shared_instance.pids()
    yield
    assert shared_instance.pids() == before


@pytest.fixture
def connect(shared_instance: RunningInstance) -> Iterator[Connect]:
    """Makes clients that are bound; they end with the test."""
    with contextlib.ExitStack() as clients:
        path = shared_instance.instance.control_socket
        yield lambda: clients.enter_context(RawClient.bound(path))


def rsa(bits: int, name: str = "") -> CreateKey:
    return CreateKey(terms(name, algorithm="RSA", bits=bits))


def answers(client: RawClient) -> int:
    """How many have come and wait to be read."""
    client.socket.settimeout(0.01)
    count = 0
    with contextlib.suppress(TimeoutError):
        while True:
            client.receive()
            count += 1
    return count


# --- making keys -------------------------------------------------------------------------------


def test_a_very_long_key_is_made_beside_the_others(instance: RunningInstance) -> None:
    """It takes a minute or more; these are made meanwhile."""
    wait_for_workers(instance)
    path = instance.instance.control_socket
    with RawClient.bound(path) as patient, RawClient.bound(path) as polite:
        patient.send(message(Call(1000, rsa(LONGEST))))

        for _ in range(5):
            assert isinstance(polite.call(rsa(2048)), Created)

        assert answers(patient) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")
def test_users_take_turns_at_the_generator(python: Path, homes: Path) -> None:
    """Of two users, who wants one key waits for one of the other's, not for all of them."""
    greedy = """
from keyiso.wire.messages import Call
from keyiso.wire.control import CreateKey
client = raw_client.RawClient.bound(control())
calls = [CreateKey(raw_client.terms(algorithm='RSA', bits=3072)) for _ in range(25)]
client.send(b''.join(raw_client.message(Call(100 + n, call)) for n, call in enumerate(calls)))
client.receive()
tell('begun')
wait()
client.socket.settimeout(0.01)
count = 1
with contextlib.suppress(TimeoutError):
    while True:
        client.receive()
        count += 1
tell(count)
"""
    with in_use(SystemInstance(homes / "turns", python)) as system:
        wait_for_workers(system)
        world = World(python, system.home)
        with world.start(ALICE, greedy) as alice:
            assert alice.told() == "begun"
            world.run(BOB, "Key.create(None, 'RSA'); tell('made')")
            alice.go_on()
            assert alice.told() < 15


def test_keys_of_a_client_that_has_gone_are_not_begun(connect: Connect) -> None:
    """But for the one that was being made when it went."""
    gone, count = connect(), 20
    calls = [message(Call(1000 + n, rsa(4096, f"gone {n}"))) for n in range(count)]
    gone.send(b"".join(calls))
    assert isinstance(gone.receive(), Return)
    gone.close()

    polite = connect()
    assert isinstance(polite.call(rsa(2048)), Created)

    with Provider() as provider:
        made = [key.pszName for key in provider.keys() if key.pszName.startswith("gone")]
    assert 1 <= len(made) <= 4


# --- taking keys over --------------------------------------------------------------------------


def test_a_very_long_key_is_taken_over_beside_the_others(connect: Connect) -> None:
    """To look at its numbers takes seconds, in which the generator goes on working."""
    patient, polite = connect(), connect()
    worker = patient.call(GetImportKey())
    wanted = terms(algorithm="", bits=0)
    sealed = seal_import(pkcs8_of(long_rsa_numbers(LONGEST)), worker.public_key, wanted)
    patient.send(message(Call(1000, ImportKey(wanted, worker.worker_instance, sealed))))

    assert isinstance(polite.call(rsa(1024)), Created)
    assert answers(patient) == 0

    patient.socket.settimeout(60)
    assert isinstance(patient.receive(), Return)


# --- using keys --------------------------------------------------------------------------------


def test_a_flood_of_very_long_signatures(connect: Connect) -> None:
    """Each takes a good part of a second: others have their turn after each, not after many, and
    the worker is not taken for one that hangs."""
    worker = connect().call(GetImportKey())
    client = connect()
    wanted = terms(algorithm="", bits=0)
    sealed = seal_import(pkcs8_of(long_rsa_numbers(LONGEST)), worker.public_key, wanted)
    client.socket.settimeout(60)
    long_key = client.call(ImportKey(wanted, worker.worker_instance, sealed))
    short_key = client.call(CreateKey(terms()))

    polite, slot, instance = loaded(client, short_key)
    floods = []
    for _ in range(2):
        flood, long_slot, _ = loaded(client, long_key, instance)
        calls = (Call(1000 + n, Sign(long_slot, DIGEST, PKCS1)) for n in range(OUTSTANDING_CALLS))
        flood.send(b"".join(map(message, itertools.islice(calls, 200))))
        floods.append(flood)

    for _ in range(5):
        assert isinstance(polite.call(Sign(slot, DIGEST, Padding())), Signature)

    assert sum(answers(flood) for flood in floods) < 100


def loaded(
    client: RawClient, key: Created, wanted: bytes | None = None
) -> tuple[RawClient, int, bytes]:
    """A channel, to a certain worker if that is wanted, with the slot of an ephemeral key."""
    while True:
        channel, attached = client.attach()
        assert isinstance(attached, Attached)
        if wanted in (None, attached.worker_instance):
            break
    opening = OpenEphemeral(key.blob, attached.channel_id, attached.worker_instance)
    opened: Any = client.call(opening)
    assert isinstance(opened, Opened)
    return channel, opened.slot, attached.worker_instance


def test_a_very_long_key_works(shared_instance: RunningInstance) -> None:
    """The counter-example to what is refused: such a key is imported, and signs."""
    data = pkcs8_of(long_rsa_numbers(LONGEST))

    with Key.import_key(None, data) as key:
        key.verify(key.sign(b"data", hash="SHA256"), b"data", hash="SHA256")
