"""What an enrolling worker does once it is armed: here are the roots in the clear."""

import os
from collections.abc import Callable, Iterable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.crypto.recovery import (
    RecoveryCopy,
    RecoveryRequest,
    answer_request,
    encode_request,
    open_answer,
    recovery_fingerprint,
    seal_for_recovery,
)
from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.tpm.enrolment import (
    EnrolledRoot,
    Enrolment,
    UnsealMode,
    decode_enrolment,
    encode_enrolment,
    unseal_machine_roots,
)
from keyiso.tpm.latch import LATCH_EVENT, LATCH_PCR, PcrState, read_pcr_state
from keyiso.tpm.pcr import extended
from keyiso.tpm.sealed_root import seal_machine_root
from keyiso.tpm.srk import PinnedSrk, enrol_srk
from keyiso.tpm.tpm import Tpm
from keyiso.trustlet.enrolling.messages import AddRecovery, Enrol, Job, Restore, Rotate

Ask = Callable[[bytes], bytes]
"""Has a recovery request answered."""


def tpm_address(job: Job) -> str:
    """The TPM that a job is for. Raises as `decode_enrolment` does."""
    if isinstance(job, Enrol | Restore):
        return job.tpm
    return decode_enrolment(job.enrolment).tpm


def rehearse(job: Job, tpm: Tpm) -> None:
    """Do what every job does, with a root that is thrown away. To be done before arming, after
    which nothing more can be imported.

    Raises what would be in the way of the job, as far as that is known without its roots.
    """
    recovery_key = X25519PrivateKey.generate()
    public_key = recovery_key.public_key().public_bytes_raw()
    pcrs = job.pcrs if isinstance(job, Enrol | Restore) else (LATCH_PCR,)
    made = _enrolled(Enrol(tpm_address(job), "any-start", pcrs, public_key), tpm)
    made = decode_enrolment(encode_enrolment(made))
    unseal_machine_roots(made, tpm)
    _recovered(made, lambda request: answer_request(request, recovery_key))
    if isinstance(job, Restore):
        old = decode_enrolment(job.enrolment)
        _check_recoverable(old)
        _check_not_latched(old, made.newest.sealed_root.pcrs)
    elif job.recovery_key:
        recovery_fingerprint(job.recovery_key)


def perform(job: Job, tpm: Tpm, ask: Ask) -> Enrolment:
    """Do a job; what is to be stored afterwards."""
    match job:
        case Enrol():
            return _enrolled(job, tpm)
        case Rotate():
            return _rotated(job, tpm)
        case AddRecovery():
            return _with_recovery(job, tpm)
        case Restore():
            return _restored(job, tpm, ask)


def _enrolled(job: Enrol, tpm: Tpm) -> Enrolment:
    srk = enrol_srk(tpm)
    pcrs = read_pcr_state(tpm, srk, job.pcrs)
    roots = [_sealed(_new_root(), tpm, srk, pcrs)]
    return _enrolment(job.tpm, job.unseal, roots, job.recovery_key)


def _rotated(job: Rotate, tpm: Tpm) -> Enrolment:
    """The old roots must open: it shows that the latch has not fallen, and that the PCRs hold what
    the newest root was sealed to, so that the new one is sealed to the same."""
    old = decode_enrolment(job.enrolment)
    kept = _unsealed(old, tpm)
    newest = old.newest.sealed_root
    made = _sealed(_new_root(), tpm, newest.srk, newest.pcrs)
    return _enrolment(old.tpm, job.unseal or old.unseal, [made, *kept], job.recovery_key)


def _with_recovery(job: AddRecovery, tpm: Tpm) -> Enrolment:
    old = decode_enrolment(job.enrolment)
    return _enrolment(old.tpm, old.unseal, _unsealed(old, tpm), job.recovery_key)


def _restored(job: Restore, tpm: Tpm, ask: Ask) -> Enrolment:
    """What was recovered has been sealed somewhere else than in this TPM: it goes on opening keys,
    and new ones get a new root."""
    old = decode_enrolment(job.enrolment)
    recovery_key, recovered = _recovered(old, ask)
    srk = enrol_srk(tpm)
    pcrs = read_pcr_state(tpm, srk, job.pcrs)
    _check_not_latched(old, pcrs)
    roots = [_sealed(root, tpm, srk, pcrs) for root in (_new_root(), *recovered)]
    return _enrolment(job.tpm, old.unseal, roots, recovery_key)


def _new_root() -> Root:
    return Root(os.urandom(limits.ROOT_ID_BYTES), "machine", os.urandom(SECRET_BYTES))


def _sealed(root: Root, tpm: Tpm, srk: PinnedSrk, pcrs: PcrState) -> tuple[Root, bytes]:
    """A root, and what is stored of it."""
    return root, seal_machine_root(tpm, root.secret, srk, pcrs).encode()


def _unsealed(enrolment: Enrolment, tpm: Tpm) -> list[tuple[Root, bytes]]:
    """The roots that there are, and what is stored of them."""
    sealed = (one.sealed for one in enrolment.roots)
    return list(zip(unseal_machine_roots(enrolment, tpm), sealed, strict=True))


def _enrolment(
    address: str, unseal: UnsealMode, roots: Iterable[tuple[Root, bytes]], recovery_key: bytes
) -> Enrolment:
    """The enrolment with these roots; all have a recovery copy if there is a key for it."""
    enrolled = (
        EnrolledRoot(
            root.root_id, sealed, seal_for_recovery(root, recovery_key) if recovery_key else b""
        )
        for root, sealed in roots
    )
    known_by = recovery_fingerprint(recovery_key) if recovery_key else b""
    return Enrolment(address, unseal, tuple(enrolled), known_by)


def _recovered(enrolment: Enrolment, ask: Ask) -> tuple[bytes, tuple[Root, ...]]:
    """The public recovery key, and the roots that the private one opened for this worker alone."""
    worker_key = X25519PrivateKey.generate()
    request = encode_request(
        RecoveryRequest(
            worker_key.public_key().public_bytes_raw(),
            enrolment.recovery_key,
            tuple(RecoveryCopy(one.root_id, one.recovery_copy) for one in enrolment.roots),
        )
    )
    return open_answer(ask(request), worker_key, request)


def _check_recoverable(enrolment: Enrolment) -> None:
    if not enrolment.recovery_key:
        raise ncrypt_error(
            Status.NTE_NOT_FOUND,
            "the machine roots have no recovery copy",
            "Only the TPM that sealed them, as it was then, can open them.",
        )


def _check_not_latched(old: Enrolment, now: PcrState) -> None:
    """Raise ``KEYISO_E_TPM_LATCHED`` when the latch has fallen on top of what the boot measures,
    which `read_pcr_state` cannot see."""
    before = old.newest.sealed_root.pcrs.by_pcr[LATCH_PCR]
    if now.by_pcr[LATCH_PCR] == extended(before, LATCH_EVENT):
        raise ncrypt_error(
            Status.KEYISO_E_TPM_LATCHED,
            f"PCR {LATCH_PCR} was extended since this boot began",
            "Restart the machine.",
        )
