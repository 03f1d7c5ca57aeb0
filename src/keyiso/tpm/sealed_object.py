"""Sealed data: what only a TPM opens, and only when a policy is fulfilled."""

import msgspec

from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.tpm.held import HeldObject, held_object
from keyiso.tpm.object_commands import TPM2_Create, TPM2_Unseal
from keyiso.tpm.policy import Policy
from keyiso.tpm.public_area import TPM2B_PUBLIC, TPMS_SENSITIVE_CREATE
from keyiso.tpm.session import Session
from keyiso.tpm.structure import TPM2B_PRIVATE, Structure
from keyiso.tpm.templates import sealed_template
from keyiso.tpm.tpm import Tpm


class SealedObject(Structure, frozen=True):
    """Sealed data as it is stored."""

    private: TPM2B_PRIVATE
    """Encrypted by the parent."""
    public: TPM2B_PUBLIC

    def check_policy(self, policy: Policy) -> None:
        """Raises ``NTE_BAD_DATA`` unless this policy opens it, and nothing else does."""
        template = sealed_template(policy.digest)
        if msgspec.structs.replace(self.public, unique=template.unique) != template:
            raise ncrypt_error(Status.NTE_BAD_DATA, "the sealed object is not under its policy")


def seal(
    tpm: Tpm, parent: HeldObject, session: Session, secret: bytes, policy: Policy
) -> SealedObject:
    """Seal a secret of 1 to ``TPM_SEALED_BYTES`` bytes, which travels encrypted."""
    if not secret:
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "there is nothing to seal")
    command = TPM2_Create(
        parent.entity,
        TPMS_SENSITIVE_CREATE(data=secret),
        sealed_template(policy.digest),
        b"",
        (),
    )
    created = tpm.run(command, session.authorize())
    return SealedObject(created.out_private, created.out_public)


def unseal(tpm: Tpm, parent: HeldObject, session: Session, sealed: SealedObject) -> bytes:
    """The secret, which travels encrypted, on the word of the TPM.

    ``session`` is a policy session that has fulfilled the policy.
    """
    with held_object(tpm, parent, sealed.private, sealed.public) as item:
        return tpm.run(TPM2_Unseal(item.entity), session.authorize()).out_data
