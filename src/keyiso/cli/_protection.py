"""The protection that a key has, in words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from keyiso.keys import ProtectionReport

_LEVELS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "software": "software: the key is in another process, where other users cannot read it",
        "vbs": "vbs: the key is in memory that root's tools cannot read",
    }
)


def protection_rows(report: ProtectionReport) -> list[tuple[str, str | list[str]]]:
    """What protects a key, and what all the same is not stopped."""
    return [
        ("Protection", _LEVELS.get(report.level, report.level)),
        ("Lifetime", report.lifetime),
        ("Stored key", report.at_rest or "not stored"),
        ("Not stopped", [f"- {threat}" for threat in report.not_stopped]),
    ]


def protection_object(report: ProtectionReport) -> dict[str, Any]:
    """The same for programs."""
    return {
        "level": report.level,
        "lifetime": report.lifetime,
        "at_rest": report.at_rest or None,
        "not_stopped": list(report.not_stopped),
    }
