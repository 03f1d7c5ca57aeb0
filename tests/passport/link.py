"""Passport's operations as they are sent, to the worker that has the containers or to KeyIso."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keyiso.crypto.pin_seal import PinTerms, Purpose, seal_pin
from keyiso.paths import Instance
from keyiso.wire.channel import Ping
from keyiso.wire.link import AddChannel
from keyiso.wire.messages import Call, Failure, Return
from keyiso.wire.passport import (
    AttemptPin,
    ChangePin,
    EnrolPin,
    MakePinKey,
    PinKey,
    ResetPin,
    SealedPin,
    TicketUse,
)
from tests.conformance.raw_client import RawClient, message
from tests.passport.conftest import RIGHT, pin

GENERATOR = "software-generator"


class Prompt:
    """A prompt of one user, over any connection that takes Passport's operations."""

    def __init__(self, client: RawClient, owner: int) -> None:
        self.client = client
        self.owner = owner

    def sealed(self, text: str, purpose: Purpose, attempt_id: bytes) -> SealedPin:
        key = self.client.call(MakePinKey(self.owner, purpose, attempt_id))
        assert isinstance(key, PinKey), key
        terms = PinTerms(self.owner, key.container_id, purpose, attempt_id)
        with pin(text) as typed:
            return SealedPin(key.public_key, seal_pin(typed, key.public_key, terms))

    def enrol(self, text: str = RIGHT, attempt_id: bytes = b"") -> Any:
        attempt_id = attempt_id or os.urandom(16)
        sealed = self.sealed(text, "enrol", attempt_id)
        return self.client.call(EnrolPin(self.owner, attempt_id, sealed))

    def attempt(self, text: str, attempt_id: bytes = b"", use: TicketUse = "none") -> Any:
        attempt_id = attempt_id or os.urandom(16)
        sealed = self.sealed(text, "verify", attempt_id)
        return self.client.call(AttemptPin(self.owner, attempt_id, sealed, use))

    def change(self, old: str, new: str, attempt_id: bytes = b"") -> Any:
        attempt_id = attempt_id or os.urandom(16)
        sealed = self.sealed(old, "change", attempt_id), self.sealed(new, "new", attempt_id)
        return self.client.call(ChangePin(self.owner, attempt_id, *sealed))

    def reset(self, text: str) -> Any:
        attempt_id = os.urandom(16)
        sealed = self.sealed(text, "new", attempt_id)
        return self.client.call(ResetPin(self.owner, attempt_id, sealed))


@contextmanager
def at_the_worker(instance: Instance) -> Iterator[RawClient]:
    """A connection as the KeyIso service has it."""
    with RawClient.at(instance.workers / f"{GENERATOR}.sock") as client:
        client.hello()
        yield client


def attached(client: RawClient, uid: int) -> tuple[RawClient, bytes]:
    """A key channel of a user to the worker, and its id."""
    ours, theirs = socket.socketpair()
    channel_id = os.urandom(16)
    call = Call(1 << 20, AddChannel(channel_id, uid))
    with theirs:
        socket.send_fds(client.socket, [message(call)], [theirs.fileno()])
    assert isinstance(client.receive(), Return)
    channel = RawClient(ours, Ping())
    channel.hello()
    return channel, channel_id


def status_in(answer: Any) -> int:
    """Of an answer that must be a failure."""
    assert isinstance(answer, Failure), answer
    return answer.status
