"""TPM_RC: what a command is answered with, and the error that it is here (Part 2, 6.6)."""

from dataclasses import dataclass
from typing import Final

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status, status_name

_FORMAT_ONE: Final = 0x080
"""Set in a code that speaks of a parameter, a handle or a session."""
_PARAMETER: Final = 0x040
_SESSION: Final = 0x800
_VENDOR: Final = 0x400
_REFERENCE_H0: Final = 0x910
_REFERENCE_S0: Final = 0x918
_REFERENCES: Final = 7
_FACILITY: Final = 0x80280000
"""FACILITY_TPM_SERVICES of an HRESULT, as winerror.h declares TPM_20_E_*."""

RESOURCE_MANAGER_LAYER: Final = 11
"""Linux' /dev/tpmrm0 answers with this layer in the upper half when it refuses by itself."""


@dataclass(frozen=True, slots=True)
class ResponseCode:
    """A code other than success."""

    value: int
    """As it came, 32 bits."""

    @property
    def base(self) -> int:
        """The code without the number of what it speaks of, and without a layer."""
        if self._format_one:
            return self.value & (_FORMAT_ONE | 0x3F)
        return self.value & 0xFFF

    @property
    def name(self) -> str:
        """``TPM_RC_POLICY_FAIL``; a number for a code that is not known here."""
        if not self._format_one:
            if 0 <= self.base - _REFERENCE_H0 < _REFERENCES:
                return f"TPM_RC_REFERENCE_H{self.base - _REFERENCE_H0}"
            if 0 <= self.base - _REFERENCE_S0 < _REFERENCES:
                return f"TPM_RC_REFERENCE_S{self.base - _REFERENCE_S0}"
            if self.base & _VENDOR:
                return f"a code of the TPM's vendor, {self.base:#x}"
        known = status_name(self.status)
        return known.replace("TPM_20_E_", "TPM_RC_") if known.startswith("TPM_20_E_") else known

    @property
    def subject(self) -> str:
        """``parameter 1``, ``handle 2``, ``session 1``, or nothing."""
        number = self.value >> 8 & 0xF
        if not self._format_one or not number:
            return ""
        if self.value & _PARAMETER:
            return f"parameter {number}"
        kind = "session" if self.value & _SESSION else "handle"
        return f"{kind} {number & 7}"

    @property
    def status(self) -> int:
        """``TPM_20_E_*``, which is an HRESULT."""
        return _FACILITY | self.base

    @property
    def _format_one(self) -> bool:
        return bool(self.value & _FORMAT_ONE)

    def __str__(self) -> str:
        parts = [f"{self.name} ({self.value:#x})"]
        if self.subject:
            parts.append(f"for {self.subject}")
        layer = self.value >> 16 & 0xFF
        if layer == RESOURCE_MANAGER_LAYER:
            parts.append("by the kernel's resource manager")
        elif layer:
            parts.append(f"by layer {layer}")
        return " ".join(parts)


RETRIED: Final = frozenset(
    int(one) & 0xFFF
    for one in (
        Status.TPM_20_E_RETRY,
        Status.TPM_20_E_YIELDED,
        Status.TPM_20_E_TESTING,
        Status.TPM_20_E_NV_RATE,
    )
)
"""Codes after which the same bytes are sent again, by their base. The TPM has done nothing yet."""

_ACTIONS: Final[dict[int, str]] = {
    Status.TPM_20_E_AUTH_FAIL: "Too many failures lock the TPM for a while.",
    Status.TPM_20_E_LOCKOUT: (
        "Wait for the time that the TPM's lockout interval says, or have its owner reset the"
        " dictionary attack lock."
    ),
    Status.TPM_20_E_INITIALIZE: "Send TPM2_Startup; a machine's firmware does it.",
    Status.TPM_20_E_FAILURE: "Restart the machine; if that does not help the TPM is broken.",
    Status.TPM_20_E_REBOOT: "Restart the machine.",
    Status.TPM_20_E_UPGRADE: "Finish the update of the TPM's firmware.",
    Status.TPM_20_E_HIERARCHY: "Enable the hierarchy in the machine's firmware.",
    Status.TPM_20_E_COMMAND_CODE: "The TPM, or the resource manager, is too old.",
    Status.TPM_20_E_OBJECT_MEMORY: (
        "Use /dev/tpmrm0, which manages the TPM's memory; a client that ended without it left"
        " objects behind."
    ),
    Status.TPM_20_E_SESSION_MEMORY: "Use /dev/tpmrm0, which manages the TPM's memory.",
    Status.TPM_20_E_SESSION_HANDLES: "End other programs that use the TPM.",
    Status.TPM_20_E_NV_SPACE: "Remove an NV index that nothing needs.",
    Status.TPM_20_E_RETRY: "Try again.",
    Status.TPM_20_E_TESTING: "Try again.",
    Status.TPM_20_E_YIELDED: "Try again.",
    Status.TPM_20_E_NV_RATE: "Try again in a minute.",
}


def response_error(command: str, code: int) -> NCryptError:
    """The error for a code that a command was answered with."""
    rc = ResponseCode(code)
    return ncrypt_error(rc.status, f"{command} was answered with {rc}", _ACTIONS.get(rc.status, ""))
