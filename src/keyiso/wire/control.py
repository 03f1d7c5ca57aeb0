"""What an application asks of the KeyIso service."""

from typing import Final

from keyiso.crypto.key_header import AccessEntry, KeyHeader, Level, Scope
from keyiso.wire.key_terms import KeyProperty, KeyTerms
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


class Bound(Result, frozen=True, array_like=True):
    uid: int
    """Who the caller is, as the KeyIso service sees it."""
    channels: int
    """How many key channels of one process make sense here: one per worker."""


class Attached(Result, frozen=True, array_like=True):
    """A key channel; its descriptor comes with the message."""

    channel_id: bytes
    worker: str
    worker_instance: bytes


class Found(Result, frozen=True, array_like=True):
    header: KeyHeader
    modified: float
    """Seconds since 1970-01-01 UTC."""


class Created(Result, frozen=True, array_like=True):
    header: KeyHeader
    blob: bytes
    """The sealed key for an ephemeral one, which its client keeps; empty otherwise."""


class KeyName(Result, frozen=True, array_like=True):
    name: bytes
    algorithm: str


class KeyNames(Result, frozen=True, array_like=True):
    keys: tuple[KeyName, ...]
    last: bytes
    """Where the next page begins; empty on the last page."""


class ServiceStatus(Result, frozen=True, array_like=True):
    """The KeyIso service and the workers that it reaches."""

    pid: int
    instance_id: bytes
    clients: int
    workers: tuple[WorkerStatus, ...]
    lost_events: int = 0
    """Events that could not be written to the log."""
    lost_journal: int = 0
    """Events that the journal did not take."""
    suppressed_events: int = 0
    """Failures of users who had too many of them to record each."""
    lost_uses: int = 0
    """What workers had no room to tell, also those that ended since."""


class Changes(Result, frozen=True, array_like=True):
    """How many changes there were in a scope, ever."""

    count: int


class EventChannel(Result, frozen=True, array_like=True):
    name: str
    level: int
    """The most detailed level that is recorded: 0 (none), 2 (error), 4 (information), 5."""


class EventChannels(Result, frozen=True, array_like=True):
    channels: tuple[EventChannel, ...]


class BoundWorker(Result, frozen=True, array_like=True):
    """A worker that a process has key channels to."""

    worker: str
    instance_id: bytes
    channels: int


class BoundProcess(Result, frozen=True, array_like=True):
    """A process that is bound to the KeyIso service, or has key channels."""

    pid: int
    uid: int
    process: str
    """Its own word for itself, printable."""
    connections: int
    """To this instance of the KeyIso service. A process has none after a restart of the service,
    until it next asks for something; its key channels go on."""
    workers: tuple[BoundWorker, ...]


class Bindings(Result, frozen=True, array_like=True):
    """Who is bound to which instance."""

    instance_id: bytes
    """Of the KeyIso service."""
    processes: tuple[BoundProcess, ...]
    """At most ``BOUND_PROCESSES``."""
    more: int
    """Processes that are left out; or more, as each worker leaves some out by itself."""


class Bind(Operation[Bound], frozen=True, array_like=True, tag=1):
    client_group: bytes
    """A secret of the client, 16 bytes: its ephemeral keys open for nobody else."""
    process: str
    """The client's own word for itself, for people who read the log; nothing is decided by it."""


class Attach(Operation[Attached], frozen=True, array_like=True, tag=2):
    avoid: tuple[bytes, ...] = ()
    """Worker instances that this client already has a channel to."""
    level: Level = "software"
    """Of the keys that the channel is for."""
    passport: bool = False
    """It is for keys in a Passport container."""


class OpenKey(Operation[Opened], frozen=True, array_like=True, tag=3):
    provider: str
    scope: Scope
    name: bytes
    channel_id: bytes
    worker_instance: bytes
    ticket: bytes = b""
    """For a key that is in a Passport container."""


class OpenEphemeral(Operation[Opened], frozen=True, array_like=True, tag=4):
    blob: bytes
    channel_id: bytes
    worker_instance: bytes


class FindKey(Operation[Found], frozen=True, array_like=True, tag=5):
    provider: str
    scope: Scope
    name: bytes


class CreateKey(Operation[Created], frozen=True, array_like=True, tag=6):
    terms: KeyTerms
    properties: tuple[KeyProperty, ...] = ()
    ticket: bytes = b""
    """For a key of the Passport provider: of the container that it is put into."""


class GetImportKey(Operation[WorkerImportKey], frozen=True, array_like=True, tag=7):
    level: Level = "software"


class ImportKey(Operation[Created], frozen=True, array_like=True, tag=8):
    terms: KeyTerms
    worker_instance: bytes
    sealed: bytes
    properties: tuple[KeyProperty, ...] = ()


class DeleteKey(Operation[Done], frozen=True, array_like=True, tag=9):
    operation_id: bytes
    provider: str
    scope: Scope
    name: bytes
    key_id: bytes
    """The key that is meant; another one under the same name is not deleted. Empty: the damaged
    key of this name, which cannot be opened; an intact one is then not deleted."""


class ReleaseEphemeral(Operation[Done], frozen=True, array_like=True, tag=10):
    blob: bytes


class EnumKeys(Operation[KeyNames], frozen=True, array_like=True, tag=11):
    provider: str
    scope: Scope
    after: bytes
    """The last name of the page before; empty at the start."""


class GetServiceStatus(Operation[ServiceStatus], frozen=True, array_like=True, tag=12):
    pass


class SetProperty(Operation[Done], frozen=True, array_like=True, tag=13):
    """Store a property with a key."""

    operation_id: bytes
    provider: str
    scope: Scope
    name: bytes
    key_id: bytes
    """The key that is meant; another one under the same name is not changed."""
    property_name: bytes
    """UTF-16-LE."""
    value: bytes


class GetProperty(Operation[PropertyValue], frozen=True, array_like=True, tag=14):
    """A property that is stored with a key."""

    provider: str
    scope: Scope
    name: bytes
    key_id: bytes
    property_name: bytes


class SetAccess(Operation[Done], frozen=True, array_like=True, tag=15):
    """Replace a key's access list. Who must not use it any more cannot when this has returned."""

    operation_id: bytes
    provider: str
    scope: Scope
    name: bytes
    key_id: bytes
    access: tuple[AccessEntry, ...]


class AwaitChange(Operation[Changes], frozen=True, array_like=True, tag=16):
    """Wait until the keys of a scope have changed, or for ``WATCH_SECONDS``."""

    scope: Scope
    since: int
    """The count that the caller knows; -1 for none, which is answered at once."""


class GetIsolation(Operation[Isolation], frozen=True, array_like=True, tag=17):
    """Whether ``vbs`` keys can be had; asking starts the workers that hold them."""


class ReportProviderFailure(Operation[Done], frozen=True, array_like=True, tag=20):
    """A provider could not be opened in the client's process. The client's own word."""

    provider: str
    status: int


class SetEventChannel(Operation[Done], frozen=True, array_like=True, tag=21):
    """Switch a channel of the event log. For root and who manages the instance."""

    channel: str
    level: int
    """As in `EventChannel`."""


class GetEventChannels(Operation[EventChannels], frozen=True, array_like=True, tag=22):
    """The event channels. For those who may switch them."""


BINDINGS_FEATURE: Final = "bindings"
"""A KeyIso service of an older version would hang up on `GetBindings`."""


class GetBindings(Operation[Bindings], frozen=True, array_like=True, tag=23):
    """Who is bound, of a service that says `BINDINGS_FEATURE` in its welcome: every process for
    those who manage the instance, and the caller's own for others.
    """


class NotResealed(Result, frozen=True, array_like=True):
    """A key that stays as it is."""

    owner: int
    """A uid; -1 for a key of the machine."""
    name: bytes
    status: int


class ResealedKeys(Result, frozen=True, array_like=True):
    last: bytes
    """The last key id that was looked at; empty at the end."""
    resealed: int
    already: int
    """Keys that need not be sealed anew."""
    failed: tuple[NotResealed, ...]
    """At most ``RESEAL_PAGE``."""


RESEAL_FEATURE: Final = "reseal"
"""A KeyIso service of an older version would hang up on `ResealKeys`."""


class ResealKeys(Operation[ResealedKeys], frozen=True, array_like=True, tag=35):
    """Have the next stored ``vbs`` keys sealed by another machine root, with their properties, by a
    service that says `RESEAL_FEATURE` in its welcome. For those who manage the instance. Asking
    again does no harm.
    """

    root_id: bytes
    """Of the root that seals new keys."""
    after: bytes
    """The last key id of the page before; empty at the start."""


ControlOperation = (
    Bind
    | Attach
    | OpenKey
    | OpenEphemeral
    | FindKey
    | CreateKey
    | GetImportKey
    | ImportKey
    | DeleteKey
    | ReleaseEphemeral
    | EnumKeys
    | GetServiceStatus
    | SetProperty
    | GetProperty
    | SetAccess
    | AwaitChange
    | GetIsolation
    | ReportProviderFailure
    | SetEventChannel
    | GetEventChannels
    | GetBindings
    | ResealKeys
    | PassportOperation
)
