"""Roots in the care of the TPM: sealed under its SRK, to PCRs, and to the latch not having fallen.

Everything is composed and checked where the root is. Whoever relays the bytes, or pretends to be
the TPM, learns nothing and can only make it fail. A root cannot be sealed without a policy: a
`PcrState` always has the latch PCR in it.
"""

import contextlib
from collections.abc import Iterator, Mapping

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG, TPM_RH, TPM_SE
from keyiso.tpm.held import HeldObject, held_primary, held_session
from keyiso.tpm.latch import LATCH_EVENT, LATCH_PCR, PcrState, read_pcrs
from keyiso.tpm.pcr import extended, select
from keyiso.tpm.policy import Policy
from keyiso.tpm.policy_commands import TPM2_PolicyPCR
from keyiso.tpm.sealed_object import SealedObject, seal, unseal
from keyiso.tpm.session import Authorization, EmptyPassword
from keyiso.tpm.srk import PinnedSrk, held_srk
from keyiso.tpm.stored import VERSION, VERSION_BYTE, damaged, decode_stored
from keyiso.tpm.structure import UINT32, Structure
from keyiso.tpm.templates import SRK_TEMPLATES
from keyiso.tpm.tpm import Tpm


class SealedRoot(Structure, frozen=True):
    """A sealed root as it is stored. Nothing in it is secret.

    Raises ``NTE_BAD_DATA`` for one that something else than the policy over its PCRs opens.
    """

    version: VERSION_BYTE
    hierarchy: UINT32
    """TPM_RH.OWNER for a machine root, TPM_RH.NULL for a boot root."""
    srk: PinnedSrk
    pcrs: PcrState
    sealed: SealedObject

    def __post_init__(self) -> None:
        if self.hierarchy not in (TPM_RH.OWNER, TPM_RH.NULL):
            raise ncrypt_error(Status.NTE_BAD_DATA, f"its hierarchy is {self.hierarchy:#x}")
        self.sealed.check_policy(_policy(self.pcrs))


def decode_sealed_root(data: bytes) -> SealedRoot:
    """A sealed root of its bytes. Raises ``NTE_BAD_DATA``, and ``NTE_BAD_VER`` for an unknown
    version."""
    return decode_stored(SealedRoot, data)


def seal_machine_root(tpm: Tpm, secret: bytes, srk: PinnedSrk, pcrs: PcrState) -> SealedRoot:
    """Seal a root that lasts, 1 to ``TPM_SEALED_BYTES`` bytes.

    Raises ``KEYISO_E_TPM_CHANGED`` when the TPM does not have the pinned SRK.
    """
    return _seal_root(tpm, secret, TPM_RH.OWNER, srk, pcrs)


def seal_boot_root(tpm: Tpm, secret: bytes, srk: PinnedSrk, pcrs: PcrState) -> SealedRoot:
    """Seal a root for this boot, in the hierarchy whose seed the TPM forgets at its reset."""
    return _seal_root(tpm, secret, TPM_RH.NULL, srk, pcrs)


def unseal_root(tpm: Tpm, root: SealedRoot) -> bytes:
    """The root.

    Raises ``KEYISO_E_TPM_CHANGED`` when the TPM does not have the pinned SRK,
    ``KEYISO_E_TPM_LATCHED`` after the latch fell, ``TPM_20_E_POLICY_FAIL`` when a PCR holds
    something else, ``KEYISO_E_ROOT_MISSING`` for a boot root of another boot and ``NTE_BAD_DATA``
    for a damaged one.
    """
    with (
        held_srk(tpm, root.srk) as srk,
        held_session(tpm, srk, TPM_SE.POLICY) as session,
        # Nothing proves that this is the parent, and nothing need: what TPM2_Unseal gives is the
        # secret of the object with the stored Name.
        _held_parent(tpm, srk, root.hierarchy, EmptyPassword()) as parent,
    ):
        tpm.run(TPM2_PolicyPCR(session.entity, b"", select(root.pcrs.by_pcr)))
        try:
            return unseal(tpm, parent, session, root.sealed)
        except NCryptError as error:
            raise _explained(tpm, root, error) from None


def check_root(tpm: Tpm, root: SealedRoot) -> None:
    """Raise what `unseal_root` would, as far as SRK and PCRs tell it. Nothing is unsealed."""
    with held_srk(tpm, root.srk) as srk, held_session(tpm, srk) as session:
        error = _pcr_error(root, read_pcrs(tpm, root.pcrs.by_pcr, session))
    if error is not None:
        raise error


def _seal_root(
    tpm: Tpm, secret: bytes, hierarchy: TPM_RH, srk: PinnedSrk, pcrs: PcrState
) -> SealedRoot:
    with (
        held_srk(tpm, srk) as key,
        held_session(tpm, key) as session,
        _held_parent(tpm, key, hierarchy, session.authorize()) as parent,
    ):
        sealed = seal(tpm, parent, session, secret, _policy(pcrs))
    return SealedRoot(VERSION, hierarchy, srk, pcrs, sealed)


@contextlib.contextmanager
def _held_parent(
    tpm: Tpm, srk: HeldObject, hierarchy: int, authorization: Authorization
) -> Iterator[HeldObject]:
    """The SRK itself, or the same kind of key of this boot, which nobody can pin."""
    if hierarchy == TPM_RH.OWNER:
        yield srk
        return
    template = SRK_TEMPLATES[TPM_ALG(srk.public.type)]
    with held_primary(tpm, TPM_RH.NULL, template, authorization) as primary:
        yield primary


def _policy(pcrs: PcrState) -> Policy:
    return Policy().pcr(pcrs.by_pcr)


def _explained(tpm: Tpm, root: SealedRoot, error: NCryptError) -> NCryptError:
    """The reason why the TPM refused, as far as it can be told."""
    if error.status == Status.TPM_20_E_INTEGRITY:
        if root.hierarchy == TPM_RH.NULL:
            return ncrypt_error(
                Status.KEYISO_E_ROOT_MISSING, "the boot root was sealed in another boot"
            )
        return damaged(SealedRoot, "the TPM that has its SRK did not make it")
    if error.status != Status.TPM_20_E_POLICY_FAIL:
        return error
    return _pcr_error(root, read_pcrs(tpm, root.pcrs.by_pcr)) or error


def _pcr_error(root: SealedRoot, held: Mapping[int, bytes]) -> NCryptError | None:
    """What is wrong with what the PCRs hold; None when the root was sealed to that."""
    sealed_to = root.pcrs.by_pcr
    changed = {pcr: value for pcr, value in held.items() if value != sealed_to[pcr]}
    if changed == {LATCH_PCR: extended(sealed_to[LATCH_PCR], LATCH_EVENT)}:
        return ncrypt_error(
            Status.KEYISO_E_TPM_LATCHED,
            f"PCR {LATCH_PCR} was extended since this boot began",
            "Restart the machine.",
        )
    if not changed:
        return None
    numbers = ", ".join(map(str, sorted(changed)))
    return ncrypt_error(
        Status.TPM_20_E_POLICY_FAIL,
        f"the root was sealed to other values of PCR {numbers}",
        "The machine was started with other firmware, boot loader or settings. Start it as before,"
        " or restore the root from its recovery copy.",
    )
