"""What the KeyIso service asks of a worker."""

from typing import Final

from keyiso.crypto.key_header import AccessEntry, KeyHeader, Scope
from keyiso.wire.key_terms import KeyGrant, KeyTerms
from keyiso.wire.messages import Operation, Result
from keyiso.wire.passport import PassportOperation
from keyiso.wire.results import (
    Done,
    Isolation,
    Opened,
    PropertyValue,
    WorkerImportKey,
    WorkerStatus,
)


class Authenticated(Result, frozen=True, array_like=True):
    """The header of a blob that a worker could open."""

    header: KeyHeader


class Sealed(Result, frozen=True, array_like=True):
    """A key that a worker generated or imported."""

    blob: bytes
    header: KeyHeader


class KeyUse(Result, frozen=True, array_like=True):
    """How often something was done with a key, well or not."""

    key_id: bytes
    function: str
    """The channel operation: ``Sign``."""
    count: int


class FailedUse(Result, frozen=True, array_like=True):
    """Something with a key that failed, so many times for the same reason."""

    uid: int
    pid: int
    process: str
    """The channel's client, as `AddChannel` told."""
    provider: str
    scope: Scope
    name: bytes
    key_id: bytes
    algorithm: str
    """The key, as its sealed header says."""
    function: str
    status: int
    count: int
    trace: str
    """Of the last one."""


class Uses(Result, frozen=True, array_like=True):
    """What was done with a worker's keys since it was asked before."""

    made: tuple[KeyUse, ...]
    """All uses, failed ones included."""
    failed: tuple[FailedUse, ...]
    lost: int
    """Uses and failures that are in neither, because there were too many different ones."""


class ChannelHolder(Result, frozen=True, array_like=True):
    """A process with key channels to a worker, as `AddChannel` told."""

    uid: int
    pid: int
    process: str
    channels: int


class ChannelHolders(Result, frozen=True, array_like=True):
    holders: tuple[ChannelHolder, ...]
    """At most ``BOUND_PROCESSES``."""
    more: int
    """Processes that are left out."""


class AddChannel(Operation[Done], frozen=True, array_like=True, tag=1):
    """A new key channel; its descriptor comes with the message."""

    channel_id: bytes
    uid: int
    pid: int = 0
    process: str = ""
    """The client, for the records of what it does on the channel."""
    connection_id: bytes = b""
    """What tells the control connection that asked for it from others, 16 bytes."""


class Load(Operation[Opened], frozen=True, array_like=True, tag=2):
    channel_id: bytes
    uid: int
    """The caller; a channel of another uid is refused."""
    blob: bytes
    ticket: bytes = b""
    """For a key that is in a Passport container."""


class Generate(Operation[Sealed], frozen=True, array_like=True, tag=3):
    terms: KeyTerms
    grant: KeyGrant
    ticket: bytes = b""
    """Of the Passport container that the key is for; empty for none."""


class Import(Operation[Sealed], frozen=True, array_like=True, tag=4):
    terms: KeyTerms
    grant: KeyGrant
    sealed: bytes


class GetWorkerImportKey(Operation[WorkerImportKey], frozen=True, array_like=True, tag=5):
    pass


class Revoke(Operation[Done], frozen=True, array_like=True, tag=6):
    key_ids: tuple[bytes, ...]


class GetWorkerStatus(Operation[WorkerStatus], frozen=True, array_like=True, tag=7):
    pass


class RenewLease(Operation[Done], frozen=True, array_like=True, tag=9):
    """The KeyIso service is there, and everything that it revoked was told."""


class Authenticate(Operation[Authenticated], frozen=True, array_like=True, tag=8):
    blob: bytes


class SealProperty(Operation[PropertyValue], frozen=True, array_like=True, tag=10):
    """Seal a property's value for the key of a blob."""

    blob: bytes
    name: bytes
    value: bytes


class OpenProperty(Operation[PropertyValue], frozen=True, array_like=True, tag=11):
    """The value of a sealed property."""

    blob: bytes
    name: bytes
    sealed: bytes


class ChangeAccess(Operation[Sealed], frozen=True, array_like=True, tag=12):
    """Seal a key anew with another access list and the next generation."""

    blob: bytes
    access: tuple[AccessEntry, ...]


class Reseal(Operation[Sealed], frozen=True, array_like=True, tag=16):
    """Seal a key by another root of its kind, with the next generation; one that this root seals
    is given back as it is.
    """

    blob: bytes
    root_id: bytes
    """Of the root that seals new keys; a worker that has another one is not up to date."""


class ResealProperty(Operation[PropertyValue], frozen=True, array_like=True, tag=17):
    """Seal a property by what seals its key now."""

    blob: bytes
    """The key, sealed anew."""
    root_id: bytes
    """Of the root that sealed both before."""
    name: bytes
    sealed: bytes


USES_FEATURE: Final = "uses"
"""A worker of an older version would hang up on `TakeUses`."""


class TakeUses(Operation[Uses], frozen=True, array_like=True, tag=13):
    """What was done with keys, of a worker that says `USES_FEATURE` in its welcome.

    Answered when there is something to tell: ``USES_SECONDS`` after the first use, or when there
    is no room for more.
    """


class GetWorkerIsolation(Operation[Isolation], frozen=True, array_like=True, tag=14):
    """What a ``vbs`` worker has, or why it could not be armed."""


CHANNELS_FEATURE: Final = "channels"
"""A worker of an older version would hang up on `GetChannels`."""

EVERYBODY: Final = -1
"""In place of a uid."""


class GetChannels(Operation[ChannelHolders], frozen=True, array_like=True, tag=15):
    """Who has key channels here, of a worker that says `CHANNELS_FEATURE` in its welcome."""

    uid: int
    """Whose processes are meant; `EVERYBODY`'s."""


LinkOperation = (
    AddChannel
    | Load
    | Generate
    | Import
    | GetWorkerImportKey
    | Revoke
    | GetWorkerStatus
    | Authenticate
    | RenewLease
    | SealProperty
    | OpenProperty
    | ChangeAccess
    | Reseal
    | ResealProperty
    | TakeUses
    | GetWorkerIsolation
    | GetChannels
    | PassportOperation
)
