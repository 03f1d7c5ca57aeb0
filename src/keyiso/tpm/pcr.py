"""Platform configuration registers: selections, and what follows from values, in software.

Only the SHA-256 bank is used.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Final

from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.structure import UINT16, Fixed, Items, Selected, Sized, Structure

PCR_BYTES: Final = 32
RESET_VALUE: Final = bytes(PCR_BYTES)
"""What PCR 0 to 15 hold after a restart."""

_SELECT_BYTES: Final = 3
"""24 PCRs; no TPM takes fewer."""

PCR_DIGEST = Annotated[bytes, Fixed(PCR_BYTES)]


class TPMS_PCR_SELECTION(Structure, frozen=True):
    """PCRs of one bank, a bit for each."""

    hash: UINT16
    pcr_select: Annotated[bytes, Sized("TPM_PCR_SELECT_BYTES", prefix=1)]

    def pcrs(self) -> tuple[int, ...]:
        """The numbers of the selected ones, ascending."""
        bits = int.from_bytes(self.pcr_select, "little")
        return tuple(pcr for pcr in range(bits.bit_length()) if bits >> pcr & 1)


TPML_PCR_SELECTION = Annotated[tuple[TPMS_PCR_SELECTION, ...], Items(TPMS_PCR_SELECTION)]


class TPMT_HA(Structure, frozen=True):
    """A digest and its algorithm."""

    hash_alg: UINT16
    digest: Annotated[bytes, Selected("hash_alg", {TPM_ALG.SHA256: PCR_DIGEST})]


def select(pcrs: Iterable[int]) -> tuple[TPMS_PCR_SELECTION, ...]:
    """TPML_PCR_SELECTION of these PCRs. Raises ``NTE_INVALID_PARAMETER`` for one above 23."""
    bits = 0
    for pcr in pcrs:
        if not 0 <= pcr < 8 * _SELECT_BYTES:
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, f"there is no PCR {pcr}")
        bits |= 1 << pcr
    return (TPMS_PCR_SELECTION(TPM_ALG.SHA256, bits.to_bytes(_SELECT_BYTES, "little")),)


def extended(value: bytes, event_digest: bytes) -> bytes:
    """What a PCR holds after TPM2_PCR_Extend."""
    return hashlib.sha256(value + event_digest).digest()


def pcr_digest(values: Iterable[bytes]) -> bytes:
    """What TPM2_PolicyPCR compares: the hash of the values, by ascending number."""
    return hashlib.sha256(b"".join(values)).digest()
