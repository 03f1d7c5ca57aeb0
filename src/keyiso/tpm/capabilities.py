"""What a TPM says of itself. Nothing proves that it was the TPM, and no secret depends on it."""

from dataclasses import dataclass
from typing import Final

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_CAP, TPM_HT, TPM_PT, TPMA_PERMANENT
from keyiso.tpm.general_commands import TPMS_TAGGED_PROPERTY, TPM2_GetCapability
from keyiso.tpm.tpm import Tpm

_LAST_HANDLE: Final = 0xFFFFFFFF


def handles(tpm: Tpm, kind: TPM_HT) -> tuple[int, ...]:
    """The objects, sessions or indices that the TPM has; of /dev/tpmrm0, only one's own."""
    found: list[int] = []
    first: int = kind
    for _ in range(limits.TPM_CAPABILITY_PAGES):
        page = tpm.run(TPM2_GetCapability(TPM_CAP.HANDLES, first, limits.TPM_LIST_ITEMS))
        found += [item for item in page.capability_data.data if isinstance(item, int)]
        if not page.more_data or not found or not first <= found[-1] < _LAST_HANDLE:
            return tuple(found)
        first = found[-1] + 1
    raise ncrypt_error(
        Status.KEYISO_E_TPM_ANSWER,
        f"the TPM always has more handles; TPM_CAPABILITY_PAGES is {limits.TPM_CAPABILITY_PAGES}",
    )


def tpm_property(tpm: Tpm, which: int) -> int:
    """A property by TPM_PT. Raises ``NTE_NOT_SUPPORTED`` when the TPM does not have it."""
    page = tpm.run(TPM2_GetCapability(TPM_CAP.TPM_PROPERTIES, which, 1))
    for item in page.capability_data.data:
        if isinstance(item, TPMS_TAGGED_PROPERTY) and item.property == which:
            return item.value
    raise ncrypt_error(Status.NTE_NOT_SUPPORTED, f"the TPM has no property {which:#x}")


@dataclass(frozen=True, slots=True)
class LockoutState:
    """The TPM's defence from guessing. Nothing that keyiso makes counts in it."""

    locked: bool
    """Objects that it protects cannot be used now, not even with the right authValue."""
    failures: int
    most_failures: int
    """The TPM locks at so many."""
    seconds_per_failure: int
    """After so long, one failure is forgotten."""


def lockout_state(tpm: Tpm) -> LockoutState:
    """Whether somebody's wrong guesses have locked the TPM."""
    return LockoutState(
        bool(tpm_property(tpm, TPM_PT.PERMANENT) & TPMA_PERMANENT.inLockout),
        tpm_property(tpm, TPM_PT.LOCKOUT_COUNTER),
        tpm_property(tpm, TPM_PT.MAX_AUTH_FAIL),
        tpm_property(tpm, TPM_PT.LOCKOUT_INTERVAL),
    )
