"""Policies in software: the digest of a session that has fulfilled them (Part 3, 23)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyiso.tpm.constants import TPM_CC, TPM_EO
from keyiso.tpm.pcr import TPMS_PCR_SELECTION, pcr_digest, select
from keyiso.tpm.structure import Items

_SELECTION: Final = Items[TPMS_PCR_SELECTION](TPMS_PCR_SELECTION)


@dataclass(frozen=True, slots=True)
class Policy:
    """Steps so far. Each method is the command of its name, and gives a policy with that step."""

    digest: bytes = bytes(32)

    def pcr(self, values: Mapping[int, bytes]) -> "Policy":
        """TPM2_PolicyPCR: these PCRs hold these values."""
        ordered = sorted(values)
        return self._step(
            TPM_CC.PolicyPCR,
            _SELECTION.write(select(ordered), {}),
            pcr_digest(values[pcr] for pcr in ordered),
        )

    def secret(self, name: bytes, policy_ref: bytes = b"") -> "Policy":
        """TPM2_PolicySecret: the authValue of what has this Name is known."""
        return self._step(TPM_CC.PolicySecret, name)._then(policy_ref)

    def signed(self, name: bytes, policy_ref: bytes = b"") -> "Policy":
        """TPM2_PolicySigned: who has the private key of this Name agrees."""
        return self._step(TPM_CC.PolicySigned, name)._then(policy_ref)

    def nv(self, name: bytes, operand: bytes, offset: int, operation: TPM_EO) -> "Policy":
        """TPM2_PolicyNV: the index of this Name compares so with the operand."""
        arguments = operand + offset.to_bytes(2) + operation.to_bytes(2)
        return self._step(TPM_CC.PolicyNV, hashlib.sha256(arguments).digest(), name)

    def counter_timer(self, operand: bytes, offset: int, operation: TPM_EO) -> "Policy":
        """TPM2_PolicyCounterTimer: the TPM's TPMS_TIME_INFO compares so with the operand."""
        arguments = operand + offset.to_bytes(2) + operation.to_bytes(2)
        return self._step(TPM_CC.PolicyCounterTimer, hashlib.sha256(arguments).digest())

    def command_code(self, code: TPM_CC) -> "Policy":
        """TPM2_PolicyCommandCode: for this command only."""
        return self._step(TPM_CC.PolicyCommandCode, code.to_bytes(4))

    def auth_value(self) -> "Policy":
        """TPM2_PolicyAuthValue: the object's own authValue is known."""
        return self._step(TPM_CC.PolicyAuthValue)

    def _step(self, code: TPM_CC, *parts: bytes) -> "Policy":
        return self._then(code.to_bytes(4), *parts)

    def _then(self, *parts: bytes) -> "Policy":
        return Policy(hashlib.sha256(self.digest + b"".join(parts)).digest())
