"""The storage root key, and how we know it again."""

import contextlib
import hmac
from collections.abc import Iterator

from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG, TPM_RH
from keyiso.tpm.held import HeldObject, held_primary
from keyiso.tpm.session import EmptyPassword
from keyiso.tpm.structure import TPM2B_NAME, UINT16, Structure
from keyiso.tpm.templates import SRK_TEMPLATES
from keyiso.tpm.tpm import Tpm


class PinnedSrk(Structure, frozen=True):
    """The SRK that was there at enrolment. It stands for the TPM: a TPM that was cleared, and
    any other one, has another."""

    algorithm: UINT16
    """TPM_ALG.ECC or TPM_ALG.RSA."""
    name: TPM2B_NAME

    def __post_init__(self) -> None:
        if self.algorithm not in SRK_TEMPLATES:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER, f"no SRK has the algorithm {self.algorithm:#x}"
            )


def enrol_srk(tpm: Tpm, algorithm: TPM_ALG = TPM_ALG.ECC) -> PinnedSrk:
    """Pin the SRK of the TPM that answers. This is the moment at which it is trusted unseen."""
    with _held(tpm, algorithm) as srk:
        return PinnedSrk(algorithm, srk.entity.name)


@contextlib.contextmanager
def held_srk(tpm: Tpm, pinned: PinnedSrk) -> Iterator[HeldObject]:
    """The pinned SRK. Raises ``KEYISO_E_TPM_CHANGED`` when the TPM has another one."""
    with _held(tpm, pinned.algorithm) as srk:
        if not hmac.compare_digest(srk.entity.name, pinned.name):
            raise ncrypt_error(
                Status.KEYISO_E_TPM_CHANGED,
                "the TPM's storage root key is not the one that was pinned",
                "If the TPM was cleared or replaced, what it sealed can only be restored.",
            )
        yield srk


def _held(tpm: Tpm, algorithm: int) -> contextlib.AbstractContextManager[HeldObject]:
    # The owner's hierarchy is used without a password: one would pass through the relay's hands.
    return held_primary(tpm, TPM_RH.OWNER, SRK_TEMPLATES[TPM_ALG(algorithm)], EmptyPassword())
