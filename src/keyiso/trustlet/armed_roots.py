"""The machine roots of an armed worker: where they are enrolled, and why they cannot be opened."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.crypto.key_header import RootKind
from keyiso.crypto.root_seal import Roots
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.required_shields import LATCHED, RequiredShields
from keyiso.status import Status
from keyiso.tpm.enrolment import Enrolment, open_tpm, read_enrolment, unseal_machine_roots
from keyiso.tpm.latch import extend_latch, read_pcr_state
from keyiso.tpm.sealed_root import SealedRoot, check_root, seal_machine_root, unseal_root
from keyiso.tpm.tpm import Tpm
from keyiso.trustlet.kept_boot_root import keep_boot_root, open_boot_root, read_kept
from keyiso.trustlet.root_sharing import Giving
from keyiso.wire.results import Isolation


class MachineRoots:
    """The enrolment is read, and the TPM opened, before a worker is armed; unsealed is after."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        pool: int,
        founds: bool,
        kept: Path,
        required: RequiredShields,
    ) -> None:
        """``pool`` is how many workers share what the TPM gives out once in a boot, ``kept`` where
        the boot root may be. Then only one that ``founds`` asks the TPM.
        """
        self._trouble: NCryptError | None = None
        self._lacking: NCryptError | None = None
        """What is required of stored keys and not so: no roots, whoever may have some."""
        self._enrolment: Enrolment | None = None
        self._open = contextlib.ExitStack()
        self._tpm: Tpm | None = None
        self._kept_boot_root = b""
        self._unsealed = False
        try:
            self._enrolment = read_enrolment(path)
            if self._enrolment is not None:
                if LATCHED in required and not self._once:
                    self._lacking = _not_latching(required)
                    return
                if self._once and not (pool and founds):
                    self._trouble = _not_given()
                    return
                self._tpm = self._open.enter_context(open_tpm(self._enrolment.tpm, clock))
                self._kept_boot_root = _content(kept)
                _rehearse(self._enrolment, self._tpm)
        except (NCryptError, OSError) as error:
            self._trouble = _as_trouble(error)

    def giving(self, roots: Roots, pool: int, over: Callable[[], None]) -> Giving:
        """How a worker with these roots hands them on."""
        if not roots.machine or not self._once:
            return Giving()
        return Giving(pool - 1, over=over) if self._unsealed else Giving(0)

    @property
    def latches(self) -> bool:
        """This worker has what the TPM gives out once in a boot, and has to see to that."""
        return self._unsealed and self._once

    @property
    def _once(self) -> bool:
        return self._enrolment is not None and self._enrolment.unseal == "once-per-boot"

    @property
    def _is_latched(self) -> bool:
        return self._trouble is not None and self._trouble.status == Status.KEYISO_E_TPM_LATCHED

    def latch(self) -> None:
        """Let the latch fall, unless it has, and let go of the TPM."""
        if self._enrolment is None or self._tpm is None:
            return
        root = self._enrolment.newest.sealed_root
        if not _has_latched(self._tpm, root):
            extend_latch(self._tpm, root.srk)
        self.close()

    def boot_root(self, machine: tuple[Root, ...]) -> Root | None:
        """That of this boot which an earlier worker with the same machine root has left."""
        if self._tpm is None or not machine or not self._kept_boot_root:
            return None
        for root in machine:  # the newest may have been made since
            with contextlib.suppress(NCryptError):
                return open_boot_root(self._tpm, self._kept_boot_root, root)
        return None

    def keep_boot_root(self, boot: Root, machine: tuple[Root, ...]) -> bytes:
        """What is to be left to a later one; empty where no TPM seals it, and where it is there
        already.
        """
        if self._tpm is None or self._enrolment is None or not machine:
            return b""
        with contextlib.suppress(NCryptError):
            if read_kept(self._kept_boot_root, machine[0])[0] == boot.root_id:
                return b""
        try:
            like = self._enrolment.newest.sealed_root
            return keep_boot_root(self._tpm, boot, machine[0], like)
        except NCryptError:
            return b""

    @property
    def trouble(self) -> NCryptError | None:
        """Why there are no machine roots; None where none are enrolled."""
        return self._trouble

    def completed(self, given: tuple[Root, ...], trouble: NCryptError | None) -> tuple[Root, ...]:
        """What a sibling gave, when that is all that is enrolled now; else what the TPM gives. The
        sibling may say what its ``trouble`` was.
        """
        if self._lacking is not None:
            return ()
        have = {root.root_id for root in given}
        if self._enrolment is None or have.issuperset(
            root.root_id for root in self._enrolment.roots
        ):
            return given
        if self._tpm is None:
            self._trouble = trouble or self._trouble
        return self.unseal() or given

    def unseal(self) -> tuple[Root, ...]:
        """The roots, the newest first. None when none is enrolled, or they cannot be opened."""
        if self._enrolment is None or self._tpm is None:
            return ()
        try:
            roots = unseal_machine_roots(self._enrolment, self._tpm)
        except (NCryptError, OSError) as error:
            self._trouble = _as_trouble(error)
            return ()
        self._unsealed = True
        return roots

    def close(self) -> None:
        """Let go of the TPM: one in software serves one connection at a time."""
        self._tpm = None
        self._open.close()

    def missing(self, kind: RootKind) -> NCryptError:
        """Why this worker opens no key that such a root seals."""
        if self._lacking is not None:
            return self._lacking
        if self._once and self._is_latched:
            return ncrypt_error(
                Status.KEYISO_E_TPM_LATCHED,
                "all processes have ended that had got the machine roots in this boot",
                "Restart the machine.",
            )
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
            isolation = msgspec.structs.replace(
                isolation, machine_root="present", sealing_root=roots.machine[0].root_id
            )
            if self._trouble is None or self._has_newest(roots.machine):
                return isolation
        elif self._lacking is not None:
            isolation = msgspec.structs.replace(isolation, machine_root="absent")
        elif self._trouble is not None:
            isolation = msgspec.structs.replace(isolation, machine_root="degraded")
        else:
            return isolation
        missing = self.missing("machine")
        return msgspec.structs.replace(
            isolation,
            root_cause=missing.cause,
            root_action=missing.action,
            root_status=missing.status,
        )

    def _has_newest(self, machine: tuple[Root, ...]) -> bool:
        return self._enrolment is None or machine[0].root_id == self._enrolment.newest.root_id


def _rehearse(enrolment: Enrolment, tpm: Tpm) -> None:
    """Seal and unseal what is thrown away, so that nothing needs to be loaded for it later.

    Raises what would be in the way of unsealing the roots.
    """
    pinned = enrolment.newest.sealed_root.srk
    pcrs = enrolment.newest.sealed_root.pcrs.by_pcr
    state = read_pcr_state(tpm, pinned, pcrs)
    unseal_root(tpm, seal_machine_root(tpm, os.urandom(SECRET_BYTES), pinned, state))


def _has_latched(tpm: Tpm, root: SealedRoot) -> bool:
    try:
        check_root(tpm, root)
    except NCryptError as error:
        return error.status == Status.KEYISO_E_TPM_LATCHED
    return False


def _as_trouble(error: Exception) -> NCryptError:
    if isinstance(error, NCryptError):
        return error
    return ncrypt_error(Status.NTE_DEVICE_NOT_READY, f"the TPM cannot be used: {error}")


def _not_given() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_STALE,
        "no other process has given it, and the TPM gives it out once in a boot",
        "Start keyiso again, or the machine when keyiso has run in this boot.",
    )


def _not_latching(required: RequiredShields) -> NCryptError:
    return required.lacking(
        LATCHED,
        "the TPM gives out the machine root at any start",
        "Stop keyiso, run `keyiso tpm rotate --unseal once-per-boot`, start it, and run"
        " `keyiso tpm reseal`",
    )


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(limits.KEPT_BOOT_ROOT_BYTES)
    except FileNotFoundError:
        return b""
