"""Tickets: the TPM's word, for the TPM, that it did something.

keyiso hands them back at most, so one type does for all kinds.
"""

from keyiso.tpm.constants import TPM_RH, TPM_ST
from keyiso.tpm.structure import TPM2B_DIGEST, UINT16, UINT32, Structure


class TPMT_TK(Structure, frozen=True):
    tag: UINT16
    hierarchy: UINT32
    digest: TPM2B_DIGEST


NULL_HASHCHECK = TPMT_TK(TPM_ST.HASHCHECK, TPM_RH.NULL, b"")
"""For a hash that the TPM did not make itself."""
