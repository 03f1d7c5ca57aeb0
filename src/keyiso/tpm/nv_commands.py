"""Commands about the TPM's non-volatile memory (Part 3)."""

from keyiso.tpm.command import Command, Nothing
from keyiso.tpm.constants import TPM_CC
from keyiso.tpm.entity import ENTITY
from keyiso.tpm.nv_public import TPM2B_NV_PUBLIC
from keyiso.tpm.structure import TPM2B_DATA, TPM2B_DIGEST, TPM2B_NAME, UINT16, Structure


class TPM2_NV_DefineSpace(Command[Nothing], frozen=True):
    code = TPM_CC.NV_DefineSpace
    authorized = True
    auth_handle: ENTITY
    auth: TPM2B_DIGEST
    """The authValue of the new index."""
    public_info: TPM2B_NV_PUBLIC


class TPM2_NV_UndefineSpace(Command[Nothing], frozen=True):
    code = TPM_CC.NV_UndefineSpace
    authorized = True
    auth_handle: ENTITY
    nv_index: ENTITY


class NvPublicRead(Structure, frozen=True):
    nv_public: TPM2B_NV_PUBLIC
    nv_name: TPM2B_NAME


class TPM2_NV_ReadPublic(Command[NvPublicRead], frozen=True):
    code = TPM_CC.NV_ReadPublic
    nv_index: ENTITY


class TPM2_NV_Write(Command[Nothing], frozen=True):
    code = TPM_CC.NV_Write
    authorized = True
    auth_handle: ENTITY
    nv_index: ENTITY
    data: TPM2B_DATA
    offset: UINT16


class TPM2_NV_Increment(Command[Nothing], frozen=True):
    code = TPM_CC.NV_Increment
    authorized = True
    auth_handle: ENTITY
    nv_index: ENTITY


class NvRead(Structure, frozen=True):
    data: TPM2B_DATA


class TPM2_NV_Read(Command[NvRead], frozen=True):
    code = TPM_CC.NV_Read
    authorized = True
    auth_handle: ENTITY
    nv_index: ENTITY
    size: UINT16
    offset: UINT16
