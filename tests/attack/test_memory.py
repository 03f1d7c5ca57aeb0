"""The memory of an armed worker cannot grow: what is too much is refused, and it goes on."""

import os
import random
import socket
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import limits
from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.signatures import NO_PADDING
from keyiso.status import Status
from keyiso.wire.channel import Encipher, Ping, Sign, Signature
from keyiso.wire.link import AddChannel, GetWorkerStatus, Load, SealProperty
from keyiso.wire.messages import Failure, Refusal
from tests.attack.planted import pkcs8
from tests.attack.subject import DIGEST, PKCS1, Client, Subject
from tests.attack.target import wait_until
from tests.conformance.raw_client import Ended

HEAP_MEBIBYTES = 3
"""So little that a test can fill it."""

MOST_KEYS = 10_000
MOST_CHANNELS = 2_000

LEAST_ACTS, MOST_ACTS = 1_000, 20_000
"""Of many clients."""

ALLOWED = {
    *("done", "begun", "hung up on"),
    *("KEYISO_E_STALE", "NTE_NO_MEMORY"),
    *("NTE_BAD_ALGID", "NTE_INVALID_PARAMETER"),  # not every key does everything
}
"""What may become of what a client does."""


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


def test_keys_that_were_used_make_room_again_and_again(subject: Subject) -> None:
    """Nothing that Python or OpenSSL keep of them lies between what is free."""
    blobs = [
        (subject.sealed(pkcs8(subject.planted.rsa_key)), PKCS1),
        (subject.sealed(pkcs8(subject.planted.ec_key)), NO_PADDING),
    ]
    most, before, evictions = 0, 0, 0
    for number in range(2_000):
        blob, padding = blobs[number // 4 % 2]
        slot = subject.load_sealed(blob)
        signature = subject.channel.call(Sign(slot, DIGEST, padding))
        assert isinstance(signature, Signature), signature
        loaded = loaded_keys(subject)
        evictions += loaded <= before
        most, before = max(most, loaded), loaded

    assert evictions > 1
    assert most > 100


def test_requests_that_are_never_finished_are_refused(subject: Subject) -> None:
    """Channels take memory until there is none for another, and those that begin long frames more
    of it, up to a user's share: who is beyond that is hung up on, which gives his memory back.
    """
    frame = struct.pack("<I", limits.KEY_FRAME_BYTES) + bytes(limits.KEY_FRAME_BYTES - 1)
    with ExitStack() as channels:
        for number in range(MOST_CHANNELS):
            channel = add_channel(subject, channel_id(number))
            if isinstance(channel, Failure):
                refusal = channel
                break
            channels.callback(channel.close)
            channel.hello()
            if number % 2:
                channel.send(frame)
        else:
            pytest.fail(f"{MOST_CHANNELS} channels fit")

        assert refusal.status == Status.NTE_NO_MEMORY
    assert wait_until(lambda: opens_channel(subject, b"again"))  # when it has seen them hang up
    subject.load(pkcs8(ec.generate_private_key(ec.SECP256R1())))


def test_a_request_that_needs_too_much_is_refused(subject: Subject) -> None:
    """Sealing a property takes several times its size; who asks for it is hung up on."""
    blob = subject.sealed(pkcs8(ec.generate_private_key(ec.SECP256R1())))
    answer = subject.link.call(SealProperty(blob, b"n\0", bytes(limits.PROPERTY_BYTES)))

    assert isinstance(answer, Failure | Refusal)
    assert answer.status == Status.NTE_NO_MEMORY
    subject.use_keys()


def test_many_clients_that_ask_for_everything_are_refused_and_served_again(
    subject: Subject,
) -> None:
    """Keys are evicted, then requests are refused, and nobody's request ends the worker."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    blobs = [
        subject.sealed(pkcs8(subject.planted.rsa_key)),
        subject.sealed(pkcs8(subject.planted.ec_key)),
        subject.sealed(subject.planted.aes_key, "AES"),
    ]
    applications = [Application(subject, blobs, chance) for _ in range(40)]
    seen: Counter[str] = Counter()
    for acts in range(MOST_ACTS):
        one = chance.choice(applications)
        one.act()
        seen = sum((each.statuses for each in applications), Counter())
        if acts > LEAST_ACTS and seen["KEYISO_E_STALE"] and seen["NTE_NO_MEMORY"]:
            break
    print(dict(seen))
    for one in applications:
        one.close()

    assert seen["KEYISO_E_STALE"] > 0
    assert seen["NTE_NO_MEMORY"] > 0
    assert set(seen) <= ALLOWED
    assert wait_until(lambda: opens_channel(subject, b"again"))  # when it has seen them hang up
    slot = subject.load(pkcs8(subject.planted.ec_key))
    signature = subject.channel.call(Sign(slot, DIGEST, NO_PADDING))
    assert isinstance(signature, Signature), signature
    assert subject.link.call(GetWorkerStatus()).pid == subject.worker


class Application:
    """One of many clients: it opens a key channel, loads keys, uses them, asks for much, begins
    what it does not finish, hangs up, and comes again.
    """

    def __init__(self, subject: Subject, blobs: Sequence[bytes], chance: random.Random) -> None:
        self.statuses = Counter[str]()
        self._subject = subject
        self._blobs = blobs
        self._chance = chance
        self._channel_id = chance.randbytes(limits.CHANNEL_ID_BYTES)
        self._channel: Client | None = None
        self._left: list[Client] = []
        self._slots: list[int] = []

    def act(self) -> None:
        """One thing. What ends the channel is no surprise; what ends the worker is."""
        if self._channel is None:
            self._open()
            return
        act = self._chance.choice(
            (self._load, self._load, self._load, self._use, self._use, self._begin, self._hang_up)
        )
        try:
            act(self._channel)
        except (Ended, BrokenPipeError):
            self.statuses["hung up on"] += 1
            self._hang_up(self._channel)

    def close(self) -> None:
        """Hang up everywhere."""
        for channel in (self._channel, *self._left):
            if channel is not None:
                channel.close()

    def _open(self) -> None:
        opened = add_channel(self._subject, self._channel_id)
        if isinstance(opened, Client):
            self._channel = opened
            opened.socket.settimeout(60)
            opened.hello()
        else:
            self._note(opened)

    def _load(self, channel: Client) -> None:
        blob = self._chance.choice(self._blobs)
        opened = self._subject.link.call(Load(self._channel_id, os.geteuid(), blob))
        if self._note(opened):
            self._slots.append(opened.slot)

    def _use(self, channel: Client) -> None:
        """As many at once as there are, with messages of every size."""
        size = self._chance.choice((16, 4096, limits.MESSAGE_BYTES - 100))
        gcm = CipherParameters("ChainingModeGCM", b"n" * 12)
        calls: list[Encipher | Sign] = [
            Encipher(slot, bytes(size), gcm) for slot in self._slots[-8:]
        ]
        calls += [Sign(slot, DIGEST, NO_PADDING) for slot in self._slots[-8:]]
        for call in calls:
            self._note(channel.call(call))

    def _begin(self, channel: Client) -> None:
        """A long frame that will not be whole."""
        channel.send(struct.pack("<I", limits.KEY_FRAME_BYTES) + bytes(limits.KEY_FRAME_BYTES - 1))
        channel.socket.settimeout(0.05)
        try:
            self._note(channel.receive())
        except TimeoutError:
            self.statuses["begun"] += 1
            self._left.append(channel)
            self._channel = None
        self._hang_up(channel)

    def _hang_up(self, channel: Client) -> None:
        """Not from what was begun: that stays."""
        if self._channel is not None:
            channel.close()
        self._channel = None
        self._slots.clear()
        self._channel_id = self._chance.randbytes(limits.CHANNEL_ID_BYTES)

    def _note(self, answer: Any) -> bool:
        """Count an answer. Whether it is what was asked for."""
        if isinstance(answer, Failure | Refusal):
            self.statuses[Status(answer.status).name] += 1
            return False
        self.statuses["done"] += 1
        return True


def channel_id(number: int) -> bytes:
    return number.to_bytes(limits.CHANNEL_ID_BYTES, "big")


def opens_channel(subject: Subject, name: bytes) -> bool:
    """Whether there is memory for one more."""
    channel = add_channel(subject, name.ljust(limits.CHANNEL_ID_BYTES))
    if isinstance(channel, Client):
        channel.hello()
        channel.close()
        return True
    assert channel.status == Status.NTE_NO_MEMORY
    return False


def add_channel(subject: Subject, identifier: bytes) -> Client | Failure:
    """One more key channel, that another control connection has asked for, or why there is none."""
    ours, theirs = socket.socketpair()
    with theirs:
        answer = subject.link.call_with(
            AddChannel(identifier, os.geteuid(), connection_id=identifier), theirs.fileno()
        )
    if isinstance(answer, Failure):
        ours.close()
        return answer
    return Client(ours, Ping())
