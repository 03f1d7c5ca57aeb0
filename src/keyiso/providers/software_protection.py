"""What the protection flags of a new key ask for, and what the machine gives."""

from dataclasses import dataclass

from keyiso.client.binding import Binding
from keyiso.crypto.key_header import Level, Lifetime
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_PREFER_VBS_FLAG,
    NCRYPT_REQUIRE_VBS_FLAG,
    NCRYPT_USE_PER_BOOT_KEY_FLAG,
)
from keyiso.status import Status
from keyiso.wire.results import Isolation


@dataclass(frozen=True, slots=True)
class GivenProtection:
    """What a new key gets."""

    level: Level
    lifetime: Lifetime


def protection_for(binding: Binding, flags: int, *, named: bool) -> GivenProtection:
    """The protection of a key that is created or imported with these flags.

    REQUIRE never falls back, also together with PREFER. A per-boot key alone requires it too: what
    ends with the boot must not be readable until then. PREFER falls back to a software key where
    the machine lacks the means, not where they only fail now.

    Raises ``NTE_VBS_UNAVAILABLE`` with what is missing; for means that are there and fail
    ``KEYISO_E_ROOT_MISSING``, and ``KEYISO_E_TPM_LATCHED`` when they come back with the next boot.
    """
    lifetime = _lifetime(flags, named=named)
    prefers = flags & NCRYPT_PREFER_VBS_FLAG and not flags & NCRYPT_REQUIRE_VBS_FLAG
    if not flags & _ASKS_FOR_VBS:
        return GivenProtection("software", lifetime)
    lacking = _lacking(binding.isolation(), lifetime)
    if lacking is None:
        return GivenProtection("vbs", lifetime)
    if prefers and lacking.status == Status.NTE_VBS_UNAVAILABLE:
        return GivenProtection("software", lifetime)
    raise lacking


_ASKS_FOR_VBS = NCRYPT_REQUIRE_VBS_FLAG | NCRYPT_PREFER_VBS_FLAG | NCRYPT_USE_PER_BOOT_KEY_FLAG


def _lifetime(flags: int, *, named: bool) -> Lifetime:
    if not named:
        return "ephemeral"
    return "per-boot" if flags & NCRYPT_USE_PER_BOOT_KEY_FLAG else "persisted"


def _lacking(isolation: Isolation, lifetime: Lifetime) -> NCryptError | None:
    """Why there can be no ``vbs`` key of this lifetime."""
    if isolation.state != "armed":
        return ncrypt_error(Status.NTE_VBS_UNAVAILABLE, isolation.cause, isolation.action)
    root = isolation.machine_root if lifetime == "persisted" else isolation.boot_root
    if root == "present":
        return None
    if root == "absent" and lifetime == "persisted":
        return ncrypt_error(
            Status.NTE_VBS_UNAVAILABLE,
            isolation.root_cause
            or "a vbs key that is to be stored needs a TPM, and none is enrolled",
            isolation.root_action
            or "Run `keyiso tpm enroll`; a per-boot or an ephemeral key needs none.",
        )
    return ncrypt_error(
        isolation.root_status,
        isolation.root_cause or "the armed workers have no root of this boot",
        isolation.root_action,
    )
