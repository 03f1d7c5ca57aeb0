"""Commands about the TPM itself, its sessions and its PCRs (Part 3)."""

from typing import Annotated

from keyiso.tpm.command import Command, Nothing
from keyiso.tpm.constants import TPM_CAP, TPM_CC
from keyiso.tpm.entity import ENTITY
from keyiso.tpm.pcr import TPML_PCR_SELECTION, TPMS_PCR_SELECTION, TPMT_HA
from keyiso.tpm.public_area import TPMT_SYM_DEF
from keyiso.tpm.structure import (
    TPM2B_DATA,
    TPM2B_DIGEST,
    TPM_HANDLE,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Items,
    Selected,
    Structure,
)


class TPM2_Startup(Command[Nothing], frozen=True):
    """After a restart of the TPM. A machine's firmware does it; a TPM in software may wait."""

    code = TPM_CC.Startup
    startup_type: UINT16


class TPM2_Shutdown(Command[Nothing], frozen=True):
    """Before the TPM loses power."""

    code = TPM_CC.Shutdown
    shutdown_type: UINT16


class TPMS_TAGGED_PROPERTY(Structure, frozen=True):
    property: UINT32
    value: UINT32


class TPMS_CAPABILITY_DATA(Structure, frozen=True):
    capability: UINT32
    data: Annotated[
        tuple[int, ...] | tuple[TPMS_PCR_SELECTION, ...] | tuple[TPMS_TAGGED_PROPERTY, ...],
        Selected(
            "capability",
            {
                TPM_CAP.HANDLES: Annotated[tuple[int, ...], Items(UINT32)],
                TPM_CAP.PCRS: TPML_PCR_SELECTION,
                TPM_CAP.TPM_PROPERTIES: Annotated[
                    tuple[TPMS_TAGGED_PROPERTY, ...], Items(TPMS_TAGGED_PROPERTY)
                ],
            },
        ),
    ]


class Capabilities(Structure, frozen=True):
    more_data: UINT8
    capability_data: TPMS_CAPABILITY_DATA


class TPM2_GetCapability(Command[Capabilities], frozen=True):
    code = TPM_CC.GetCapability
    capability: UINT32
    property: UINT32
    """The first one of interest."""
    property_count: UINT32


class RandomBytes(Structure, frozen=True):
    random_bytes: TPM2B_DIGEST


class TPM2_GetRandom(Command[RandomBytes], frozen=True):
    code = TPM_CC.GetRandom
    bytes_requested: UINT16


class TPMS_CLOCK_INFO(Structure, frozen=True):
    clock: UINT64
    """Milliseconds that the TPM was powered, since it was made."""
    reset_count: UINT32
    """Restarts with new secrets of the NULL hierarchy."""
    restart_count: UINT32
    """Restarts, such as from sleep, since the last reset."""
    safe: UINT8
    """0 when the clock may have gone back after a loss of power."""


class TPMS_TIME_INFO(Structure, frozen=True):
    time: UINT64
    """Milliseconds since the TPM was powered."""
    clock_info: TPMS_CLOCK_INFO


class TPM2_ReadClock(Command[TPMS_TIME_INFO], frozen=True):
    code = TPM_CC.ReadClock


class TPM2_FlushContext(Command[Nothing], frozen=True):
    """Have the TPM forget an object or a session."""

    code = TPM_CC.FlushContext
    flush_handle: UINT32


class StartedSession(Structure, frozen=True):
    session_handle: TPM_HANDLE
    nonce_tpm: TPM2B_DIGEST


class TPM2_StartAuthSession(Command[StartedSession], frozen=True):
    code = TPM_CC.StartAuthSession
    tpm_key: ENTITY
    """The key that the salt is encrypted to."""
    bind: ENTITY
    nonce_caller: TPM2B_DIGEST
    encrypted_salt: TPM2B_DATA
    session_type: UINT8
    symmetric: TPMT_SYM_DEF
    auth_hash: UINT16


class PcrsRead(Structure, frozen=True):
    pcr_update_counter: UINT32
    pcr_selection_out: TPML_PCR_SELECTION
    """Those that could be read, of those that were asked for."""
    pcr_values: Annotated[tuple[bytes, ...], Items(TPM2B_DIGEST)]


class TPM2_PCR_Read(Command[PcrsRead], frozen=True):
    """At most eight values are answered."""

    code = TPM_CC.PCR_Read
    pcr_selection_in: TPML_PCR_SELECTION


class TPM2_PCR_Extend(Command[Nothing], frozen=True):
    code = TPM_CC.PCR_Extend
    authorized = True
    pcr_handle: ENTITY
    digests: Annotated[tuple[TPMT_HA, ...], Items(TPMT_HA)]
