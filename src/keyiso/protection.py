"""What is asked of a key, and the protection that it really has."""

import enum
from dataclasses import dataclass
from typing import Final

from keyiso import flags as f


class Protection(enum.Enum):
    """The protection that is asked for."""

    SOFTWARE = 0
    """An isolated process of another user: stops other users, not root."""
    PREFER_VBS = f.NCRYPT_PREFER_VBS_FLAG
    """``vbs`` where the machine can; otherwise software, which the key then reports."""
    REQUIRE_VBS = f.NCRYPT_REQUIRE_VBS_FLAG
    """``vbs`` or nothing: `VbsUnavailableError`."""


class KeyUsage(enum.IntFlag):
    """What a key may be used for; enforced by the process that holds it."""

    DECRYPT = f.NCRYPT_ALLOW_DECRYPT_FLAG
    SIGN = f.NCRYPT_ALLOW_SIGNING_FLAG
    AGREE = f.NCRYPT_ALLOW_KEY_AGREEMENT_FLAG
    ALL = f.NCRYPT_ALLOW_ALL_USAGES


class ExportPolicy(enum.IntFlag):
    """How the private key may leave; nothing by default."""

    NONE = 0
    ENCRYPTED = f.NCRYPT_ALLOW_EXPORT_FLAG
    PLAINTEXT = f.NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG


@dataclass(frozen=True, slots=True)
class ProtectionReport:
    """The protection that a key really has."""

    level: str
    """``software``: the key is in the memory of another process, in the clear. ``vbs``: in memory
    that root's tools cannot read."""
    lifetime: str
    """``persisted``, ``per-boot`` or ``ephemeral``."""
    at_rest: str
    """What seals the stored key; empty for an ephemeral one."""
    origin: str
    """``generated`` where it is kept, or ``imported-sealed``; empty where the provider does not
    say."""
    not_stopped: tuple[str, ...]
    """Who can get the key, or use it, all the same."""

    def __str__(self) -> str:
        at_rest = f", {self.at_rest}" if self.at_rest else ""
        origin = f", {self.origin}" if self.origin else ""
        return f"{self.level}, {self.lifetime}{origin}{at_rest}; not stopped: " + "; ".join(
            self.not_stopped
        )


def protection_report(level: str, lifetime: str, origin: str) -> ProtectionReport:
    """What a key of keyiso's own provider has (docs/isolation.md has each row's measurement)."""
    stored = lifetime != "ephemeral"
    return ProtectionReport(
        level,
        lifetime,
        _AT_REST[level, lifetime] if stored else "",
        origin,
        (
            *_NOT_STOPPED[level],
            *(_NOT_STOPPED_AT_REST[level, lifetime] if stored else ()),
            *(("who had the file that it was imported from",) if "import" in origin else ()),
            "a process of the same user can use the key while it runs",
            *(("an old state directory that is put back (rollback)",) if stored else ()),
        ),
    )


_AT_REST: Final = {
    ("software", "persisted"): "sealed by a root secret in a file of this machine",
    ("software", "per-boot"): "sealed by a root secret in a file that ends with this boot",
    ("vbs", "persisted"): "sealed by a root that this machine's TPM has sealed",
    ("vbs", "per-boot"): "sealed by a root that only armed processes have, and only in this boot",
}

_NOT_STOPPED: Final = {
    "software": ("root can read the key from the worker's memory",),
    "vbs": (
        "root's BPF programs and perf can read any process",
        "root that kills the guardian may see a fraction of a register",
        "kernel modules and a changed kernel",
    ),
}

_NOT_STOPPED_AT_REST: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("software", "persisted"): ("who copies the whole state directory has the key",),
    ("software", "per-boot"): ("who copies both directories before the machine restarts",),
    ("vbs", "persisted"): ("root that starts changed code, which the TPM serves too",),
    ("vbs", "per-boot"): ("root that starts changed code while the machine runs",),
}
