"""The machine root of armed workers: where it is enrolled, and why it cannot be opened."""

from pathlib import Path

import msgspec

from keyiso.crypto.key_blob import Root
from keyiso.crypto.key_header import RootKind
from keyiso.crypto.root_seal import Roots
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.wire.operations import Isolation


class MachineRoots:
    """Opened before a worker is armed; unsealed, once, after that."""

    def __init__(self, enrolment: Path) -> None:
        self._trouble: NCryptError | None = None
        self._enrolled = False

    def unseal(self) -> tuple[Root, ...]:
        """The roots, the newest first. None when nothing is enrolled, or they cannot be opened."""
        return ()

    def close(self) -> None:
        """Let go of the TPM."""

    def missing(self, kind: RootKind) -> NCryptError:
        """Why this worker does not open a key."""
        if self._trouble is not None:
            return ncrypt_error(
                Status.KEYISO_E_ROOT_MISSING,
                f"the machine root cannot be unsealed: {self._trouble.cause}",
                self._trouble.action,
            )
        return ncrypt_error(
            Status.NTE_VBS_UNAVAILABLE,
            "stored vbs keys need a TPM, and none is enrolled",
            "Run `keyiso tpm enroll`, or use a per-boot or an ephemeral key.",
        )

    def described(self, isolation: Isolation, roots: Roots) -> Isolation:
        """What a worker says of itself, with what it has."""
        if roots.machine:
            return msgspec.structs.replace(isolation, machine_root="present")
        if not self._enrolled:
            return isolation
        missing = self.missing("machine")
        return msgspec.structs.replace(
            isolation,
            machine_root="degraded",
            root_cause=missing.cause,
            root_action=missing.action,
        )
