"""The latch: a PCR that is extended when the roots are out, so that nothing more comes out.

Nothing but a restart resets it. What is sealed to the value before is closed until then, for root
and for the TPM's owner too.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.entity import Entity
from keyiso.tpm.general_commands import TPM2_PCR_Extend, TPM2_PCR_Read
from keyiso.tpm.held import held_session
from keyiso.tpm.pcr import PCR_BYTES, PCR_DIGEST, RESET_VALUE, TPMT_HA, extended, select
from keyiso.tpm.session import Session
from keyiso.tpm.srk import PinnedSrk, held_srk
from keyiso.tpm.structure import UINT8, Items, Structure
from keyiso.tpm.tpm import Tpm

LATCH_PCR: Final = 12
"""Any process may reset PCR 16 and 23, and none may extend 17 to 22. Of the rest, 12 is measured
by systemd's boot stub before the kernel starts (the kernel's command line), or by nobody."""

LATCH_EVENT: Final = hashlib.sha256(b"keyiso latch 1").digest()
"""What the latch PCR is extended with."""

_FIRST_RESETTABLE: Final = 16


class PcrValue(Structure, frozen=True):
    """One PCR of the SHA-256 bank."""

    pcr: UINT8
    value: PCR_DIGEST


class PcrState(Structure, frozen=True):
    """What PCRs hold before the latch falls. The latch PCR is always among them.

    Raises ``NTE_INVALID_PARAMETER`` when it is not, and for PCRs that can be reset.
    """

    values: Annotated[tuple[PcrValue, ...], Items(PcrValue)]
    """By ascending number."""

    def __post_init__(self) -> None:
        pcrs = [one.pcr for one in self.values]
        if pcrs != sorted(set(pcrs)) or LATCH_PCR not in pcrs or pcrs[-1] >= _FIRST_RESETTABLE:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                f"PCRs {pcrs}: they must be ascending, have PCR {LATCH_PCR} among them, and be"
                f" below {_FIRST_RESETTABLE}",
            )

    @property
    def by_pcr(self) -> Mapping[int, bytes]:
        return {one.pcr: one.value for one in self.values}


def pcr_state(values: Mapping[int, bytes]) -> PcrState:
    """The state that has these values. Raises as `PcrState` does."""
    return PcrState(tuple(PcrValue(pcr, values[pcr]) for pcr in sorted(values)))


def read_pcr_state(tpm: Tpm, srk: PinnedSrk, pcrs: Iterable[int] = (LATCH_PCR,)) -> PcrState:
    """What these PCRs hold now, on the word of the TPM that has the pinned SRK.

    Raises ``KEYISO_E_TPM_LATCHED`` when the latch has visibly fallen already, and as `PcrState`.
    """
    with held_srk(tpm, srk) as key, held_session(tpm, key) as session:
        state = pcr_state(read_pcrs(tpm, pcrs, session))
    if state.by_pcr[LATCH_PCR] == extended(RESET_VALUE, LATCH_EVENT):
        raise ncrypt_error(
            Status.KEYISO_E_TPM_LATCHED,
            f"PCR {LATCH_PCR} was extended in this boot; sealed to what it holds now, a root could"
            " be unsealed in no boot",
            "Restart the machine.",
        )
    return state


def read_pcrs(tpm: Tpm, pcrs: Iterable[int], session: Session | None = None) -> Mapping[int, bytes]:
    """What PCRs hold; without a session nothing proves that the TPM said so.

    Raises ``NTE_NOT_SUPPORTED`` when one of them has no SHA-256 bank.
    """
    values: dict[int, bytes] = {}
    left = set(pcrs)
    while left:
        command = TPM2_PCR_Read(select(left))
        read = tpm.run(command, session.authorize() if session else None)
        found = [pcr for selection in read.pcr_selection_out for pcr in selection.pcrs()]
        lengths = [len(value) for value in read.pcr_values]
        if not found or not left.issuperset(found) or lengths != [PCR_BYTES] * len(found):
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                f"the TPM does not tell PCR {min(left)} of its SHA-256 bank",
                "Enable the SHA-256 PCR bank in the machine's firmware.",
            )
        values.update(zip(found, read.pcr_values, strict=True))
        left.difference_update(found)
    return values


def extend_latch(tpm: Tpm, srk: PinnedSrk) -> None:
    """Let the latch fall, for the rest of this boot.

    When this returns, the TPM that has the pinned SRK has done it.
    """
    with held_srk(tpm, srk) as key, held_session(tpm, key) as session:
        tpm.run(
            TPM2_PCR_Extend(Entity.of(LATCH_PCR), (TPMT_HA(TPM_ALG.SHA256, LATCH_EVENT),)),
            session.authorize(),
        )
