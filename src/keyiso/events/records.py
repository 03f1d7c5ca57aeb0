"""Event records: ids, levels, channels and fields of Microsoft-Windows-Crypto-NCrypt.

Only fields that the manifest has, under its names, in its order; what keyiso adds (the caller's
uid, the trace, the chain) stands beside them.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from keyiso.errors import Hop

PROVIDER: Final = "Microsoft-Windows-Crypto-NCrypt"


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
    fields: tuple[str, ...]
    meaning: str


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

OPEN_KEY_FAILED: Final = EventType(
    3,
    Channel.OPERATIONAL,
    Level.ERROR,
    3,
    ("ProviderName", "KeyName", "Status", "ProcessName"),
    "opening a key failed",
)
CREATE_KEY_FAILED: Final = EventType(
    4,
    Channel.OPERATIONAL,
    Level.ERROR,
    4,
    ("ProviderName", "KeyName", "AlgorithmName", "Flags", "Status", "ProcessName"),
    "creating a key failed",
)
KEY_WRITE_FAILED: Final = EventType(
    10, Channel.OPERATIONAL, Level.ERROR, 10, _WRITE, "writing a key failed"
)
KEY_DELETE_FAILED: Final = EventType(
    12, Channel.OPERATIONAL, Level.ERROR, 12, _DELETE, "deleting a key failed"
)
KEY_WRITTEN: Final = EventType(
    21, Channel.KEY_MANAGEMENT, Level.INFORMATION, 16, _WRITE, "a key was written"
)
KEY_DELETED: Final = EventType(
    22, Channel.KEY_MANAGEMENT, Level.INFORMATION, 17, _DELETE, "a key was deleted"
)

EVENT_TYPES: Final[Mapping[int, EventType]] = MappingProxyType(
    {
        event.event_id: event
        for event in (
            OPEN_KEY_FAILED,
            CREATE_KEY_FAILED,
            KEY_WRITE_FAILED,
            KEY_DELETE_FAILED,
            KEY_WRITTEN,
            KEY_DELETED,
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
    trace: str = ""
    chain: tuple[Hop, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.values) != self.kind.fields:
            raise ValueError(f"event {self.kind.event_id} has the fields {self.kind.fields}")
