"""Passport: what a prompt asks of the KeyIso service, and that, for those who may, of the worker
that has the containers. The operations are the same on both ways.
"""

from typing import Final, Literal

from keyiso.crypto.pin_seal import Purpose
from keyiso.wire.messages import Operation, Result

PASSPORT_FEATURE: Final = "passport"
"""A service of an older version would hang up on these operations; of the workers one has it."""

TicketUse = Literal["none", "create", "use"]
"""What the ticket of an attempt is for: no ticket at all, making a key, loading one."""


class SealedPin(Result, frozen=True, array_like=True):
    """A PIN on its way."""

    public_key: bytes
    """The key that it is sealed to, as `PinKey` has it."""
    sealed: bytes


class PinKey(Result, frozen=True, array_like=True):
    """A key for one PIN."""

    container_id: bytes
    """Of the user's container, there may be none yet: it is part of what the PIN is sealed for."""
    public_key: bytes
    """X25519, 32 bytes."""


class ContainerState(Result, frozen=True, array_like=True):
    """What may be known of a container without a PIN."""

    container_id: bytes
    protector: str
    """``tpm`` or ``software``."""
    attempts_left: int
    locked_seconds: int
    """How long the lock lasts at most; 0 for none, and for one that is over."""
    has_expired: bool
    """The PIN must be changed."""
    not_stopped: tuple[str, ...]
    """What this protector does not stop."""
    reset_key: bytes = b""
    """The fingerprint of its reset key, 32 bytes; empty for none."""


class Ticket(Result, frozen=True, array_like=True):
    """The answer to a right PIN."""

    ticket: bytes
    """Good for one key, of one user and one container, for ``TICKET_SECONDS``; empty for none."""


class MakePinKey(Operation[PinKey], frozen=True, array_like=True, tag=24):
    """A key to seal a PIN to, used up by the PIN that comes first."""

    owner: int
    """The uid whose container is meant, here and below."""
    purpose: Purpose
    attempt_id: bytes
    """Random, 16 bytes; kept until an answer has come, and no longer."""


class EnrolPin(Operation[ContainerState], frozen=True, array_like=True, tag=25):
    """Make the container, with its first PIN."""

    owner: int
    attempt_id: bytes
    pin: SealedPin


class AttemptPin(Operation[Ticket], frozen=True, array_like=True, tag=26):
    """Try a PIN."""

    owner: int
    attempt_id: bytes
    pin: SealedPin
    ticket_use: TicketUse


class ChangePin(Operation[ContainerState], frozen=True, array_like=True, tag=27):
    """Set another PIN, with the old one. Keys are kept."""

    owner: int
    attempt_id: bytes
    old: SealedPin
    new: SealedPin


class ResetPin(Operation[ContainerState], frozen=True, array_like=True, tag=28):
    """Set another PIN, without the old one. Keys are lost."""

    owner: int
    attempt_id: bytes
    pin: SealedPin


class GetContainer(Operation[ContainerState], frozen=True, array_like=True, tag=29):
    owner: int


class ResetRequested(Result, frozen=True, array_like=True):
    """The answer to `RequestReset`."""

    request: bytes
    """For whoever has the private reset key."""


class SetResetKey(Operation[ContainerState], frozen=True, array_like=True, tag=30):
    """Say who can have the PIN reset while keys are kept. An attempt with the PIN."""

    owner: int
    attempt_id: bytes
    pin: SealedPin
    reset_key: bytes
    """The public half, X25519, 32 bytes; empty for nobody."""


class RequestReset(Operation[ResetRequested], frozen=True, array_like=True, tag=31):
    """What is to be answered with the reset key; no earlier answer is good any more."""

    owner: int


class UnlockPin(Operation[ContainerState], frozen=True, array_like=True, tag=32):
    """Set another PIN, with the answer to `RequestReset`. Keys are kept, and a lock ends."""

    owner: int
    attempt_id: bytes
    pin: SealedPin
    answer: bytes


ContainerOperation = EnrolPin | AttemptPin | ChangePin | ResetPin | GetContainer | UnlockPin

PassportOperation = MakePinKey | SetResetKey | RequestReset | ContainerOperation
"""The first three say to which keys secrets are sealed. No service between may say that."""
