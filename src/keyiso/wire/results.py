"""Results that more than one kind of connection carries."""

from typing import Literal

from keyiso.crypto.key_header import KeyHeader
from keyiso.status import Status
from keyiso.wire.messages import Result


class Done(Result, frozen=True, array_like=True):
    """Nothing but success."""


class Opened(Result, frozen=True, array_like=True):
    """A key loaded into a channel."""

    slot: int
    header: KeyHeader


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
    """``absent``: none was enrolled, or none that is enough for what the instance requires.
    ``degraded``: it is there and cannot be opened now.
    """
    boot_root: RootState = "absent"
    root_cause: str = ""
    """Why a root is degraded, or not enough."""
    root_action: str = ""
    root_status: int = Status.KEYISO_E_ROOT_MISSING
    """What an operation fails with that needs it."""
    sealing_root: bytes = b""
    """The id of the machine root that seals new keys; empty for none."""


class WorkerImportKey(Result, frozen=True, array_like=True):
    worker_instance: bytes
    public_key: bytes
    """X25519, 32 bytes."""


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


class PropertyValue(Result, frozen=True, array_like=True):
    """A property of a key: to an application its value, between KeyIso and a worker also the
    sealed form of it.
    """

    value: bytes
