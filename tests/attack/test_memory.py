"""The memory of an armed worker cannot grow: what is too much is refused, and it goes on."""

import os
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import limits
from keyiso.crypto.signatures import NO_PADDING
from keyiso.status import Status
from keyiso.wire.messages import Failure, Refusal
from keyiso.wire.operations import AddChannel, GetWorkerStatus, Ping, SealProperty, Sign
from tests.attack.planted import pkcs8
from tests.attack.subject import DIGEST, Client, Subject

HEAP_MEBIBYTES = 3
"""So little that a test can fill it."""

MOST_KEYS = 10_000
MOST_CHANNELS = 1_000


@pytest.fixture
def subject() -> Iterator[Subject]:
    with (
        tempfile.TemporaryDirectory() as directory,
        Subject("armed", Path(directory), heap=HEAP_MEBIBYTES) as armed,
    ):
        yield armed


def loaded_keys(subject: Subject) -> int:
    count: int = subject.link.call(GetWorkerStatus()).loaded_keys
    return count


def test_keys_make_room_for_keys(subject: Subject) -> None:
    """The cache would hold many more than there is memory for."""
    blob = subject.sealed(pkcs8(ec.generate_private_key(ec.SECP256R1())))
    before = 0
    for _ in range(MOST_KEYS):
        slot = subject.load_sealed(blob)
        if loaded_keys(subject) <= before:
            break
        before = loaded_keys(subject)
    else:
        pytest.fail(f"{MOST_KEYS} keys fit")

    assert before * limits.LOADED_EC_BYTES < limits.LOADED_KEY_BYTES
    signature = subject.channel.call(Sign(slot, DIGEST, NO_PADDING))
    assert not isinstance(signature, Failure), signature
    stale = subject.channel.call(Sign(1, DIGEST, NO_PADDING))
    assert stale.status == Status.KEYISO_E_STALE
    for _ in range(100):
        subject.load_sealed(blob)


def test_requests_that_are_never_finished_are_refused(subject: Subject) -> None:
    """Channels that begin long frames take memory until there is none for another."""
    channels = []
    frame = struct.pack("<I", limits.KEY_FRAME_BYTES) + bytes(limits.KEY_FRAME_BYTES - 1)
    for number in range(MOST_CHANNELS):
        channel = add_channel(subject, number)
        if isinstance(channel, Failure):
            refusal = channel
            break
        channels.append(channel)
        channel.hello()
        channel.send(frame)
    else:
        pytest.fail(f"{MOST_CHANNELS} channels fit")

    assert refusal.status == Status.NTE_NO_MEMORY
    for channel in channels:
        channel.close()
    again = add_channel(subject, MOST_CHANNELS)
    assert isinstance(again, Client)
    again.hello()
    assert not isinstance(again.call(Ping()), Failure)
    again.close()
    subject.load(pkcs8(ec.generate_private_key(ec.SECP256R1())))


def test_a_request_that_needs_too_much_is_refused(subject: Subject) -> None:
    """Sealing a property takes several times its size; who asks for it is hung up on."""
    blob = subject.sealed(pkcs8(ec.generate_private_key(ec.SECP256R1())))
    answer = subject.link.call(SealProperty(blob, b"n\0", bytes(limits.PROPERTY_BYTES)))

    assert isinstance(answer, Failure | Refusal)
    assert answer.status == Status.NTE_NO_MEMORY
    subject.use_keys()


def add_channel(subject: Subject, number: int) -> Client | Failure:
    """One more key channel, or why there is none."""
    ours, theirs = socket.socketpair()
    with theirs:
        channel_id = number.to_bytes(limits.CHANNEL_ID_BYTES, "big")
        answer = subject.link.call_with(AddChannel(channel_id, os.geteuid()), theirs.fileno())
    if isinstance(answer, Failure):
        ours.close()
        return answer
    return Client(ours, Ping())
