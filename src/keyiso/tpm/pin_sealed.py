"""A secret that only the PIN releases, while the TPM's PIN index allows another attempt."""

from keyiso.tpm.constants import TPM_SE
from keyiso.tpm.held import held_session
from keyiso.tpm.pin_index import PinIndex, attempt_pin
from keyiso.tpm.policy import Policy
from keyiso.tpm.sealed_object import SealedObject, seal, unseal
from keyiso.tpm.srk import PinnedSrk, held_srk
from keyiso.tpm.stored import VERSION, VERSION_BYTE, decode_stored
from keyiso.tpm.structure import Structure
from keyiso.tpm.tpm import Tpm


class PinSealed(Structure, frozen=True):
    """What is stored; nothing in it is secret.

    Raises ``NTE_BAD_DATA`` for what something else than its PIN index opens.
    """

    version: VERSION_BYTE
    srk: PinnedSrk
    index: PinIndex
    sealed: SealedObject

    def __post_init__(self) -> None:
        self.sealed.check_policy(_policy(self.index))


def decode_pin_sealed(data: bytes) -> PinSealed:
    """A sealed secret of its bytes. Raises ``NTE_BAD_DATA``, and ``NTE_BAD_VER`` for an unknown
    version."""
    return decode_stored(PinSealed, data)


def seal_under_pin(tpm: Tpm, secret: bytes, srk: PinnedSrk, index: PinIndex) -> PinSealed:
    """Seal a secret, 1 to ``TPM_SEALED_BYTES`` bytes. The PIN is not needed for it.

    Raises ``KEYISO_E_TPM_CHANGED`` when the TPM does not have the pinned SRK.
    """
    with held_srk(tpm, srk) as key, held_session(tpm, key) as session:
        sealed = seal(tpm, key, session, secret, _policy(index))
    return PinSealed(VERSION, srk, index, sealed)


def unseal_with_pin(tpm: Tpm, stored: PinSealed, auth_value: bytes) -> bytes:
    """The secret; an attempt, which raises as `attempt_pin` does.

    Raises ``KEYISO_E_TPM_CHANGED`` when the TPM does not have the pinned SRK.
    """
    with (
        held_srk(tpm, stored.srk) as key,
        held_session(tpm, key) as session,
        held_session(tpm, key, TPM_SE.POLICY) as policy,
    ):
        attempt_pin(tpm, session, policy, stored.index, auth_value)
        return unseal(tpm, key, policy, stored.sealed)


def _policy(index: PinIndex) -> Policy:
    return Policy().secret(index.entity().name)
