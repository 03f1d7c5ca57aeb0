"""Passport's operations as they are sent, to the worker that has the containers or to KeyIso."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_seal import PinTerms, Purpose, seal_pin
from keyiso.paths import Instance
from keyiso.wire.messages import Failure
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
from tests.conformance.raw_client import RawClient

RIGHT, WRONG, NEW = "482915", "573926", "684037"
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
        with Pin(bytearray(text, "ascii")) as pin:
            return SealedPin(key.public_key, seal_pin(pin, key.public_key, terms))

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


def status_in(answer: Any) -> int:
    """Of an answer that must be a failure."""
    assert isinstance(answer, Failure), answer
    return answer.status
