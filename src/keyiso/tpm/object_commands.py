"""Commands about keys and sealed data (Part 3)."""

from keyiso.tpm.command import Command
from keyiso.tpm.constants import TPM_CC
from keyiso.tpm.entity import ENTITY
from keyiso.tpm.pcr import TPML_PCR_SELECTION
from keyiso.tpm.public_area import TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPMT_SCHEME
from keyiso.tpm.signature import TPMT_SIGNATURE
from keyiso.tpm.structure import (
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM2B_KEY_NUMBER,
    TPM2B_NAME,
    TPM2B_PRIVATE,
    TPM2B_SENSITIVE_DATA,
    TPM_HANDLE,
    UINT32,
    SecretStructure,
    Structure,
)
from keyiso.tpm.ticket import TPMT_TK


class CreatedPrimary(Structure, frozen=True):
    object_handle: TPM_HANDLE
    out_public: TPM2B_PUBLIC
    creation_data: TPM2B_DATA
    creation_hash: TPM2B_DIGEST
    creation_ticket: TPMT_TK
    name: TPM2B_NAME


class TPM2_CreatePrimary(Command[CreatedPrimary], frozen=True):
    """Make a key of a hierarchy's seed: the same template gives the same key."""

    code = TPM_CC.CreatePrimary
    authorized = True
    primary_handle: ENTITY
    in_sensitive: TPM2B_SENSITIVE_CREATE
    in_public: TPM2B_PUBLIC
    outside_info: TPM2B_DATA
    creation_pcr: TPML_PCR_SELECTION


class Created(Structure, frozen=True):
    out_private: TPM2B_PRIVATE
    out_public: TPM2B_PUBLIC
    creation_data: TPM2B_DATA
    creation_hash: TPM2B_DIGEST
    creation_ticket: TPMT_TK


class TPM2_Create(Command[Created], frozen=True):
    code = TPM_CC.Create
    authorized = True
    parent_handle: ENTITY
    in_sensitive: TPM2B_SENSITIVE_CREATE
    in_public: TPM2B_PUBLIC
    outside_info: TPM2B_DATA
    creation_pcr: TPML_PCR_SELECTION


class Loaded(Structure, frozen=True):
    object_handle: TPM_HANDLE
    name: TPM2B_NAME


class TPM2_Load(Command[Loaded], frozen=True):
    code = TPM_CC.Load
    authorized = True
    parent_handle: ENTITY
    in_private: TPM2B_PRIVATE
    in_public: TPM2B_PUBLIC


class TPM2_LoadExternal(Command[Loaded], frozen=True):
    """Load a public key."""

    code = TPM_CC.LoadExternal
    in_private: TPM2B_PRIVATE
    """Empty."""
    in_public: TPM2B_PUBLIC
    hierarchy: UINT32


class ObjectPublic(Structure, frozen=True):
    out_public: TPM2B_PUBLIC
    name: TPM2B_NAME
    qualified_name: TPM2B_NAME


class TPM2_ReadPublic(Command[ObjectPublic], frozen=True):
    code = TPM_CC.ReadPublic
    object_handle: ENTITY


class Unsealed(SecretStructure, frozen=True):
    out_data: TPM2B_SENSITIVE_DATA


class TPM2_Unseal(Command[Unsealed], frozen=True):
    code = TPM_CC.Unseal
    authorized = True
    item_handle: ENTITY


class Signed(Structure, frozen=True):
    signature: TPMT_SIGNATURE


class TPM2_Sign(Command[Signed], frozen=True):
    code = TPM_CC.Sign
    authorized = True
    key_handle: ENTITY
    digest: TPM2B_DIGEST
    in_scheme: TPMT_SCHEME
    validation: TPMT_TK


class Decrypted(SecretStructure, frozen=True):
    message: TPM2B_KEY_NUMBER


class TPM2_RSA_Decrypt(Command[Decrypted], frozen=True):
    code = TPM_CC.RSA_Decrypt
    authorized = True
    key_handle: ENTITY
    cipher_text: TPM2B_KEY_NUMBER
    in_scheme: TPMT_SCHEME
    label: TPM2B_DATA
