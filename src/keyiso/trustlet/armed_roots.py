"""The machine roots of an armed worker: where they are enrolled, and why they cannot be opened."""

import contextlib
import os
from pathlib import Path

import msgspec

from keyiso.clock import Clock
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.crypto.key_header import RootKind
from keyiso.crypto.root_seal import Roots
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.enrolment import Enrolment, open_tpm, read_enrolment, unseal_machine_roots
from keyiso.tpm.latch import read_pcr_state
from keyiso.tpm.sealed_root import seal_machine_root, unseal_root
from keyiso.tpm.tpm import Tpm
from keyiso.wire.operations import Isolation


class MachineRoots:
    """The enrolment is read, and the TPM opened, before a worker is armed; unsealed is after."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._trouble: NCryptError | None = None
        self._enrolment: Enrolment | None = None
        self._open = contextlib.ExitStack()
        self._tpm: Tpm | None = None
        try:
            self._enrolment = read_enrolment(path)
            if self._enrolment is not None:
                self._tpm = self._open.enter_context(open_tpm(self._enrolment.tpm, clock))
                _rehearse(self._enrolment, self._tpm)
        except (NCryptError, OSError) as error:
            self._trouble = _as_trouble(error)

    def completed(self, given: tuple[Root, ...]) -> tuple[Root, ...]:
        """What a sibling gave, when that is all that is enrolled now; else what the TPM gives."""
        have = {root.root_id for root in given}
        if self._enrolment is None or have.issuperset(
            root.root_id for root in self._enrolment.roots
        ):
            return given
        return self.unseal() or given

    def unseal(self) -> tuple[Root, ...]:
        """The roots, the newest first. None when none is enrolled, or they cannot be opened."""
        if self._enrolment is None or self._tpm is None:
            return ()
        try:
            return unseal_machine_roots(self._enrolment, self._tpm)
        except (NCryptError, OSError) as error:
            self._trouble = _as_trouble(error)
            return ()

    def close(self) -> None:
        """Let go of the TPM: one in software serves one connection at a time."""
        self._tpm = None
        self._open.close()

    def missing(self, kind: RootKind) -> NCryptError:
        """Why this worker opens no key that such a root seals."""
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
        if self._trouble is None:
            return isolation
        missing = self.missing("machine")
        return msgspec.structs.replace(
            isolation,
            machine_root="degraded",
            root_cause=missing.cause,
            root_action=missing.action,
        )


def _rehearse(enrolment: Enrolment, tpm: Tpm) -> None:
    """Seal and unseal what is thrown away, so that nothing needs to be loaded for it later.

    Raises what would be in the way of unsealing the roots.
    """
    pinned = enrolment.newest.sealed_root.srk
    pcrs = enrolment.newest.sealed_root.pcrs.by_pcr
    state = read_pcr_state(tpm, pinned, pcrs)
    unseal_root(tpm, seal_machine_root(tpm, os.urandom(SECRET_BYTES), pinned, state))


def _as_trouble(error: Exception) -> NCryptError:
    if isinstance(error, NCryptError):
        return error
    return ncrypt_error(Status.NTE_DEVICE_NOT_READY, f"the TPM cannot be used: {error}")
