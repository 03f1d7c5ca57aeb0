"""Commands that fulfil a policy in a session (Part 3, enhanced authorisation)."""

from keyiso.tpm.command import Command, Nothing
from keyiso.tpm.constants import TPM_CC
from keyiso.tpm.entity import ENTITY
from keyiso.tpm.pcr import TPML_PCR_SELECTION
from keyiso.tpm.signature import TPMT_SIGNATURE
from keyiso.tpm.structure import TPM2B_DATA, TPM2B_DIGEST, UINT16, UINT32, Structure
from keyiso.tpm.ticket import TPMT_TK


class PolicyTicket(Structure, frozen=True):
    timeout: TPM2B_DATA
    policy_ticket: TPMT_TK


class TPM2_PolicySigned(Command[PolicyTicket], frozen=True):
    """Somebody who has a private key agrees."""

    code = TPM_CC.PolicySigned
    auth_object: ENTITY
    policy_session: ENTITY
    nonce_tpm: TPM2B_DIGEST
    cp_hash_a: TPM2B_DIGEST
    policy_ref: TPM2B_DIGEST
    expiration: UINT32
    """Seconds; 0 for as long as the session lives. Signed in the specification."""
    auth: TPMT_SIGNATURE


class TPM2_PolicySecret(Command[PolicyTicket], frozen=True):
    """Somebody who knows an authValue agrees."""

    code = TPM_CC.PolicySecret
    authorized = True
    auth_handle: ENTITY
    policy_session: ENTITY
    nonce_tpm: TPM2B_DIGEST
    cp_hash_a: TPM2B_DIGEST
    policy_ref: TPM2B_DIGEST
    expiration: UINT32


class TPM2_PolicyPCR(Command[Nothing], frozen=True):
    """PCRs have the values that they should have."""

    code = TPM_CC.PolicyPCR
    policy_session: ENTITY
    pcr_digest: TPM2B_DIGEST
    """Empty: whatever they hold now."""
    pcrs: TPML_PCR_SELECTION


class TPM2_PolicyNV(Command[Nothing], frozen=True):
    """An NV index compares so with a value."""

    code = TPM_CC.PolicyNV
    authorized = True
    auth_handle: ENTITY
    nv_index: ENTITY
    policy_session: ENTITY
    operand_b: TPM2B_DIGEST
    offset: UINT16
    operation: UINT16
    """TPM_EO."""


class TPM2_PolicyCounterTimer(Command[Nothing], frozen=True):
    """The TPM's time and its counters of restarts compare so with a value."""

    code = TPM_CC.PolicyCounterTimer
    policy_session: ENTITY
    operand_b: TPM2B_DIGEST
    offset: UINT16
    """Into TPMS_TIME_INFO."""
    operation: UINT16
    """TPM_EO."""


class TPM2_PolicyCommandCode(Command[Nothing], frozen=True):
    """The session is for one command."""

    code = TPM_CC.PolicyCommandCode
    policy_session: ENTITY
    command_code: UINT32


class TPM2_PolicyAuthValue(Command[Nothing], frozen=True):
    """The session's HMAC proves the object's authValue too."""

    code = TPM_CC.PolicyAuthValue
    policy_session: ENTITY


class PolicyDigestRead(Structure, frozen=True):
    policy_digest: TPM2B_DIGEST


class TPM2_PolicyGetDigest(Command[PolicyDigestRead], frozen=True):
    code = TPM_CC.PolicyGetDigest
    policy_session: ENTITY
