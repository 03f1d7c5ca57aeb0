"""What can be asked of whom: one union per kind of connection.

* control: an application, of the KeyIso service;
* channel: an application, of the trustlet worker that holds its loaded keys;
* link: the KeyIso service, of a worker;
* supervision: anybody, of the supervisor.
"""

from typing import Final, Literal

from keyiso.crypto.agreement import Derivation
from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.encryption import EncryptionPadding
from keyiso.crypto.key_header import AccessEntry, KeyHeader, Level, Lifetime, Scope
from keyiso.crypto.signatures import Padding
from keyiso.status import Status
from keyiso.wire.messages import Operation, Result

# --- results -----------------------------------------------------------------------------------


class Done(Result, frozen=True, array_like=True):
    """Nothing but success."""


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


class Opened(Result, frozen=True, array_like=True):
    """A key loaded into a channel."""

    slot: int
    header: KeyHeader


class Found(Result, frozen=True, array_like=True):
    header: KeyHeader
    modified: float
    """Seconds since 1970-01-01 UTC."""


class Created(Result, frozen=True, array_like=True):
    header: KeyHeader
    blob: bytes
    """The sealed key for an ephemeral one, which its client keeps; empty otherwise."""


IsolationState = Literal["armed", "starting", "unavailable"]
RootState = Literal["present", "absent", "degraded"]


class ShieldFinding(Result, frozen=True, array_like=True):
    """What an armed worker found of one protection, by trying."""

    shield: str
    answer: str
    """``yes``, ``no`` or ``unknown``."""
    evidence: str


class Isolation(Result, frozen=True, array_like=True):
    """Whether there are ``vbs`` workers, and what they can do."""

    state: IsolationState
    cause: str = ""
    """Why they are not armed."""
    action: str = ""
    findings: tuple[ShieldFinding, ...] = ()
    machine_root: RootState = "absent"
    """``absent``: none was enrolled. ``degraded``: it is there and cannot be opened now."""
    boot_root: RootState = "absent"
    root_cause: str = ""
    """Why a root is degraded."""
    root_action: str = ""
    root_status: int = Status.KEYISO_E_ROOT_MISSING
    """What an operation fails with that needs it."""


class WorkerImportKey(Result, frozen=True, array_like=True):
    worker_instance: bytes
    public_key: bytes
    """X25519, 32 bytes."""


class KeyName(Result, frozen=True, array_like=True):
    name: bytes
    algorithm: str


class KeyNames(Result, frozen=True, array_like=True):
    keys: tuple[KeyName, ...]
    last: bytes
    """Where the next page begins; empty on the last page."""


class WorkerStatus(Result, frozen=True, array_like=True):
    service: str
    pid: int
    instance_id: bytes
    channels: int
    loaded_keys: int
    operations: int
    """Uses of loaded keys since the start."""
    failures: int = 0
    """Those of them that failed."""
    lost: int = 0
    """Uses that could not be counted by key, and failures that could not be told."""


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


class ProcessStatus(Result, frozen=True, array_like=True):
    service: str
    pid: int
    """0 while it is not running."""
    uid: int
    restarts: int
    started: float
    """Seconds since 1970-01-01 UTC."""
    worker_pid: int = 0
    """Of the worker that a guardian has; 0 for a process that is no guardian."""


class SupervisorStatus(Result, frozen=True, array_like=True):
    pid: int
    system: bool
    started: float
    processes: tuple[ProcessStatus, ...]


class Signature(Result, frozen=True, array_like=True):
    value: bytes


class Signatures(Result, frozen=True, array_like=True):
    values: tuple[bytes, ...]
    """Of the first hashes, at least one: as many as there was time for."""


class Output(Result, frozen=True, array_like=True):
    """What an operation with a key gave."""

    value: bytes


class PropertyValue(Result, frozen=True, array_like=True):
    """A property of a key: to an application its value, between KeyIso and a worker also the
    sealed form of it.
    """

    value: bytes


class Changes(Result, frozen=True, array_like=True):
    """How many changes there were in a scope, ever."""

    count: int


class Authenticated(Result, frozen=True, array_like=True):
    """The header of a blob that a worker could open."""

    header: KeyHeader


class Sealed(Result, frozen=True, array_like=True):
    """A key that a worker generated or imported."""

    blob: bytes
    header: KeyHeader


class EventChannel(Result, frozen=True, array_like=True):
    name: str
    level: int
    """The most detailed level that is recorded: 0 (none), 2 (error), 4 (information), 5."""


class EventChannels(Result, frozen=True, array_like=True):
    channels: tuple[EventChannel, ...]


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


# --- what a key is to become -------------------------------------------------------------------


class KeyTerms(Result, frozen=True, array_like=True):
    """What a client asks a new key to be."""

    operation_id: bytes
    """Random, 16 bytes: a repeat after a lost answer returns the first result."""
    provider: str
    scope: Scope
    owner: int
    """The caller's uid as `Bound` told it; another one is refused."""
    name: bytes
    """UTF-16-LE; empty for an ephemeral key."""
    lifetime: Lifetime
    algorithm: str
    """Empty for an import that says it itself; "AES" for one that is only bytes."""
    bits: int
    """0 for an import."""
    usage: int
    export_policy: int
    overwrite: bool
    level: Level = "software"
    """What protects it; the worker that makes it has this level, or refuses."""


class KeyProperty(Result, frozen=True, array_like=True):
    """A property that a new key is to have from its beginning."""

    name: bytes
    """UTF-16-LE."""
    value: bytes


class KeyGrant(Result, frozen=True, array_like=True):
    """What the KeyIso service adds to the terms: who may use the key, and its generation."""

    access: tuple[AccessEntry, ...]
    generation: int
    client_group: bytes
    """SHA-256 of the client's secret for an ephemeral key; empty otherwise."""


# --- control: application to KeyIso ------------------------------------------------------------


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


class OpenKey(Operation[Opened], frozen=True, array_like=True, tag=3):
    provider: str
    scope: Scope
    name: bytes
    channel_id: bytes
    worker_instance: bytes


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
)

# --- channel: application to worker ------------------------------------------------------------


class Ping(Operation[Done], frozen=True, array_like=True, tag=1):
    """Nothing: the cost of a call."""


class Sign(Operation[Signature], frozen=True, array_like=True, tag=2):
    slot: int
    digest: bytes
    padding: Padding


class Release(Operation[Done], frozen=True, array_like=True, tag=3):
    slot: int


class Decrypt(Operation[Output], frozen=True, array_like=True, tag=4):
    """RSA."""

    slot: int
    ciphertext: bytes
    padding: EncryptionPadding


class Derive(Operation[Output], frozen=True, array_like=True, tag=5):
    """A key from the secret that this key and another one agree on."""

    slot: int
    peer: bytes
    """The other public key: DER SubjectPublicKeyInfo."""
    derivation: Derivation


class Encipher(Operation[Output], frozen=True, array_like=True, tag=6):
    """AES."""

    slot: int
    message: bytes
    parameters: CipherParameters


class Decipher(Operation[Output], frozen=True, array_like=True, tag=7):
    slot: int
    ciphertext: bytes
    parameters: CipherParameters


class ExportPrivate(Operation[Output], frozen=True, array_like=True, tag=8):
    """The private key, as far as its export policy allows."""

    slot: int
    blob_type: str
    password: bytes
    """UTF-8, for an encrypted PKCS #8 key; empty for one in the clear."""


BATCH_FEATURE: Final = "sign-batch"
"""A worker of an older version would hang up on `SignBatch`."""


class SignBatch(Operation[Signatures], frozen=True, array_like=True, tag=9):
    """`Sign` for several hashes, of a worker that says `BATCH_FEATURE` in its welcome."""

    slot: int
    digests: tuple[bytes, ...]
    """1 to ``DIGESTS_PER_BATCH``."""
    padding: Padding


ChannelOperation = (
    Ping | Sign | Release | Decrypt | Derive | Encipher | Decipher | ExportPrivate | SignBatch
)

# --- link: KeyIso to worker --------------------------------------------------------------------


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


class Generate(Operation[Sealed], frozen=True, array_like=True, tag=3):
    terms: KeyTerms
    grant: KeyGrant


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


USES_FEATURE: Final = "uses"
"""A worker of an older version would hang up on `TakeUses`."""


class TakeUses(Operation[Uses], frozen=True, array_like=True, tag=13):
    """What was done with keys, of a worker that says `USES_FEATURE` in its welcome.

    Answered when there is something to tell: ``USES_SECONDS`` after the first use, or when there
    is no room for more.
    """


class GetWorkerIsolation(Operation[Isolation], frozen=True, array_like=True, tag=14):
    """What a ``vbs`` worker has, or why it could not be armed."""


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
    | TakeUses
    | GetWorkerIsolation
)

# --- pair: an armed worker to another one of its instance ---------------------------------------


class SharedRoots(Result, frozen=True, array_like=True):
    """The roots of an armed worker, sealed to who asked (`keyiso.crypto.root_seal`)."""

    sealed: bytes
    status: int = 0
    """Why there is no machine root among them; 0 when there is, or none is enrolled."""
    cause: str = ""
    action: str = ""


class ShareRoots(Operation[SharedRoots], frozen=True, array_like=True, tag=1):
    """What a worker asks that was armed a moment ago."""

    public_key: bytes
    """X25519, 32 bytes; made after the asking worker was armed."""


PairOperation = ShareRoots

# --- supervision -------------------------------------------------------------------------------


class GetSupervisorStatus(Operation[SupervisorStatus], frozen=True, array_like=True, tag=1):
    pass


class Stop(Operation[Done], frozen=True, array_like=True, tag=2):
    """End all services and the supervisor. For root and the user it runs as."""


class ReplacePairs(Operation[Done], frozen=True, array_like=True, tag=3):
    """Start armed workers anew, one after the other, so that they take a new enrolment up. For
    root and the user that the supervisor runs as.
    """


SupervisionOperation = GetSupervisorStatus | Stop | ReplacePairs
