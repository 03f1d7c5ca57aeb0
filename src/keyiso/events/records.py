"""Event records: ids, levels, channels and fields of Microsoft-Windows-Crypto-NCrypt.

A record has the manifest's fields, under its names, in its order; what keyiso adds (the caller,
the trace, counts) stands beside them. Events of keyiso's own have another provider, and ids that
the manifest does not have.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from keyiso.errors import Hop

PROVIDER: Final = "Microsoft-Windows-Crypto-NCrypt"
OWN_PROVIDER: Final = "keyiso"


class Level(enum.IntEnum):
    ERROR = 2
    INFORMATION = 4
    VERBOSE = 5


class Channel(enum.StrEnum):
    OPERATIONAL = "Operational"
    KEY_MANAGEMENT = "KeyMgmt"


@dataclass(frozen=True, slots=True)
class EventType:
    """One line of the manifest."""

    event_id: int
    channel: Channel
    level: Level
    task: int
    keywords: int
    fields: tuple[str, ...]
    meaning: str
    provider: str = PROVIDER
    always: bool = False
    """Recorded whatever is switched off."""


_NCRYPT_OPERATION: Final = 0x1
_WRITE_KEY: Final = 0x100
_DELETE_KEY: Final = 0x200
_KEYGUARD_OPERATION_FAILED: Final = 0x4
_KEYGUARD_INFO: Final = 0x8
_KEYGUARD_OPERATION: Final = 13
"""The task of all events of VBS key isolation."""

_KEY_CHANGE: Final = ("KeyName", "KeyFileName", "ProcessName", "ProcessId", "ThreadId", "UserId")
_WRITE: Final = (
    "ProviderName",
    "KeyModificationType",
    "Flags",
    *_KEY_CHANGE,
    "ServiceTag",
    "Status",
)
_DELETE: Final = ("ProviderName", "Flags", "DeletionType", *_KEY_CHANGE, "ServiceTag", "Status")


def _failure(event_id: int, fields: tuple[str, ...], meaning: str) -> EventType:
    """An error of the Operational channel: its task has its own number."""
    return EventType(
        event_id, Channel.OPERATIONAL, Level.ERROR, event_id, _NCRYPT_OPERATION, fields, meaning
    )


def _verbose(event_id: int, fields: tuple[str, ...], meaning: str) -> EventType:
    return EventType(
        event_id, Channel.OPERATIONAL, Level.VERBOSE, event_id, _NCRYPT_OPERATION, fields, meaning
    )


OPERATION_FAILED: Final = _failure(
    1,
    (
        "OperationType",
        "ProviderName",
        "KeyName",
        "KeyType",
        "AlgorithmName",
        "Status",
        "ProcessName",
    ),
    "an operation with a key failed",
)
OPEN_PROVIDER_FAILED: Final = _failure(
    2, ("ProviderName", "Status", "ProcessName"), "opening a provider failed"
)
OPEN_KEY_FAILED: Final = _failure(
    3, ("ProviderName", "KeyName", "Status", "ProcessName"), "opening a key failed"
)
CREATE_KEY_FAILED: Final = _failure(
    4,
    ("ProviderName", "KeyName", "AlgorithmName", "Flags", "Status", "ProcessName"),
    "creating a key failed",
)
KEY_WRITE_SUCCEEDED: Final = _verbose(9, _WRITE, "writing a key succeeded")
KEY_WRITE_FAILED: Final = _failure(10, _WRITE, "writing a key failed")
KEY_DELETE_SUCCEEDED: Final = _verbose(11, _DELETE, "deleting a key succeeded")
KEY_DELETE_FAILED: Final = _failure(12, _DELETE, "deleting a key failed")
KEY_WRITTEN: Final = EventType(
    21, Channel.KEY_MANAGEMENT, Level.INFORMATION, 16, _WRITE_KEY, _WRITE, "a key was written"
)
KEY_DELETED: Final = EventType(
    22, Channel.KEY_MANAGEMENT, Level.INFORMATION, 17, _DELETE_KEY, _DELETE, "a key was deleted"
)


def _isolation(
    event_id: int, level: Level, keywords: int, fields: tuple[str, ...], meaning: str
) -> EventType:
    return EventType(
        event_id, Channel.OPERATIONAL, level, _KEYGUARD_OPERATION, keywords, fields, meaning
    )


_FAILED_OPERATION: Final = ("Function", "Info", "StatusCode", "StatusString")

VBS_OPERATION_FAILED: Final = _isolation(
    13,
    Level.ERROR,
    _KEYGUARD_OPERATION_FAILED,
    _FAILED_OPERATION,
    "an operation of VBS key isolation failed",
)
VBS_CLIENT_OPERATION_FAILED: Final = _isolation(
    14,
    Level.ERROR,
    _KEYGUARD_OPERATION_FAILED,
    (*_FAILED_OPERATION, "Client", "FailuresCount", "FailuresCountGlobal", "SuccessCountGlobal"),
    "an operation of VBS key isolation failed for a client",
)
VBS_CLIENT: Final = _isolation(
    15,
    Level.INFORMATION,
    _KEYGUARD_INFO,
    ("Client", "BindingStatusCode", "BindingStatusString", "InstanceBindingAttempts"),
    "a client uses VBS key isolation for the first time",
)
VBS_NOT_AVAILABLE: Final = _isolation(
    20,
    Level.ERROR,
    _KEYGUARD_INFO,
    ("ErrorCode", "SignaledFailure", "SignaledSuccess"),
    "VBS key isolation is not available",
)
VBS_STATUS: Final = _isolation(
    25, Level.INFORMATION, _KEYGUARD_INFO, ("Status",), "how VBS key isolation stands"
)
VBS_RESTARTED: Final = _isolation(
    26,
    Level.INFORMATION,
    _KEYGUARD_INFO,
    (
        "LsaIsoLaunchAttempted",
        "Status",
        "TotalAttemptedRestarts",
        "TotalSuccessfulRestarts",
        "CanBeEnabled",
    ),
    "a pair was replaced",
)
CHANNEL_SWITCHED: Final = EventType(
    1000,
    Channel.OPERATIONAL,
    Level.INFORMATION,
    0,
    0,
    ("ChannelName", "NewLevel", "OldLevel", "ProcessName", "ProcessId", "UserId", "Status"),
    "an event channel was switched",
    provider=OWN_PROVIDER,
    always=True,
)


def _of_container(
    event_id: int, channel: Channel, level: Level, meaning: str, *more: str
) -> EventType:
    fields = "ContainerId", "OwnerId", "Protector", "ProcessName", "ProcessId", "UserId", *more
    return EventType(event_id, channel, level, 0, 0, fields, meaning, provider=OWN_PROVIDER)


PIN_ENROLLED: Final = _of_container(
    1001, Channel.KEY_MANAGEMENT, Level.INFORMATION, "a Passport container got its first PIN"
)
PIN_CHANGED: Final = _of_container(
    1002, Channel.KEY_MANAGEMENT, Level.INFORMATION, "the PIN of a Passport container was changed"
)
PIN_RESET: Final = _of_container(
    1003,
    Channel.KEY_MANAGEMENT,
    Level.INFORMATION,
    "the PIN of a Passport container was reset without the old one",
)
CONTAINER_LOCKED: Final = _of_container(
    1004, Channel.OPERATIONAL, Level.ERROR, "a Passport container was locked after wrong PINs"
)
PIN_INDEX_LOST: Final = _of_container(
    1005,
    Channel.OPERATIONAL,
    Level.ERROR,
    "the TPM's PIN index of a Passport container is missing, or it or the TPM is another one",
    "Status",
)
RESET_KEY_SET: Final = _of_container(
    1006,
    Channel.KEY_MANAGEMENT,
    Level.INFORMATION,
    "it was set who can have the PIN of a Passport container reset while keys are kept",
)

EVENT_TYPES: Final[Mapping[int, EventType]] = MappingProxyType(
    {
        event.event_id: event
        for event in (
            OPERATION_FAILED,
            OPEN_PROVIDER_FAILED,
            OPEN_KEY_FAILED,
            CREATE_KEY_FAILED,
            KEY_WRITE_SUCCEEDED,
            KEY_WRITE_FAILED,
            KEY_DELETE_SUCCEEDED,
            KEY_DELETE_FAILED,
            KEY_WRITTEN,
            KEY_DELETED,
            VBS_OPERATION_FAILED,
            VBS_CLIENT_OPERATION_FAILED,
            VBS_CLIENT,
            VBS_NOT_AVAILABLE,
            VBS_STATUS,
            VBS_RESTARTED,
            CHANNEL_SWITCHED,
            PIN_ENROLLED,
            PIN_CHANGED,
            PIN_RESET,
            CONTAINER_LOCKED,
            PIN_INDEX_LOST,
            RESET_KEY_SET,
        )
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    kind: EventType
    time: float
    """Seconds since 1970-01-01 UTC."""
    values: Mapping[str, str | int]
    """A value for each of the kind's fields."""
    uid: int
    """The caller, by the kernel's word."""
    trace: str = ""
    chain: tuple[Hop, ...] = ()
    pid: int = 0
    """The caller's process, by the kernel's word; 0 where it is not known."""
    more: Mapping[str, str | int] = field(default_factory=dict)
    """What keyiso says beside the manifest's fields: counts, the function, the key's id."""

    def __post_init__(self) -> None:
        if tuple(self.values) != self.kind.fields:
            raise ValueError(f"event {self.kind.event_id} has the fields {self.kind.fields}")
