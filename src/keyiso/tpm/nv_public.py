"""TPMS_NV_PUBLIC: what can be known of an NV index, and its Name."""

import hashlib
from typing import Annotated

from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.structure import TPM2B_DIGEST, UINT16, UINT32, SizedOf, Structure


class TPMS_NV_PUBLIC(Structure, frozen=True):
    """The public area of an NV index."""

    nv_index: UINT32
    """The handle."""
    name_alg: UINT16
    attributes: UINT32
    auth_policy: TPM2B_DIGEST
    data_size: UINT16
    """In bytes."""

    def name(self) -> bytes:
        """The Name; it changes with the first write, which sets an attribute. SHA-256 only."""
        return TPM_ALG.SHA256.to_bytes(2) + hashlib.sha256(self.encode()).digest()


TPM2B_NV_PUBLIC = Annotated[TPMS_NV_PUBLIC, SizedOf(TPMS_NV_PUBLIC, "TPM_PUBLIC_BYTES")]
