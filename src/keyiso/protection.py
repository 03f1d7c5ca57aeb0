"""What is asked of a key, and the protection that it really has."""

import enum
from dataclasses import dataclass

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
    """``software``: the key is in the memory of another process, in the clear."""
    lifetime: str
    """``persisted`` or ``ephemeral``."""
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
