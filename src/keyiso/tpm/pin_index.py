"""The NV index that counts wrong PINs, in hardware and for one user.

Its kind is PIN_FAIL: TPM2_PolicySecret with its authValue fails when ``pin_count`` has reached
``pin_limit``, counts a wrong authValue, and sets the count to 0 for the right one. The global
lockout is not touched (TPMA_NV_NO_DA).

The TPM's owner, who may be anybody, can remove the index and define another one in its place, with
the same Name and an authValue of his own. But an index that was never written authorises nothing
and has another Name, and writing takes the signature of the writer, a private key of ours. The one
moment to replace the index is before its first write. So no two definitions have one Name, and an
index counts as defined when it has shown, after the write, that its authValue is ours.
"""

from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.command import answer_error
from keyiso.tpm.constants import TPM_ALG, TPM_RH, TPM_SE, TPMA_NV
from keyiso.tpm.entity import Entity
from keyiso.tpm.held import HeldObject, held_public_key, held_session
from keyiso.tpm.nv_commands import (
    TPM2_NV_DefineSpace,
    TPM2_NV_Read,
    TPM2_NV_ReadPublic,
    TPM2_NV_UndefineSpace,
    TPM2_NV_Write,
)
from keyiso.tpm.nv_public import TPMS_NV_PUBLIC
from keyiso.tpm.policy import Policy
from keyiso.tpm.policy_commands import TPM2_PolicySecret, TPM2_PolicySigned
from keyiso.tpm.public_area import TPMS_ECC_POINT
from keyiso.tpm.session import Session
from keyiso.tpm.signature import TPMS_SIGNATURE_ECC, TPMT_SIGNATURE
from keyiso.tpm.srk import PinnedSrk, held_srk
from keyiso.tpm.structure import TPM2B_DIGEST, UINT32, MalformedError, Structure
from keyiso.tpm.templates import verifying_template
from keyiso.tpm.tpm import Tpm

OWNER_INDICES: Final = range(0x01800000, 0x01C00000)
"""Handles for the owner, by the TCG's Registry of Reserved TPM 2.0 Handles and Localities."""

AUTH_VALUE_BYTES: Final = 32
"""A key derived from the PIN: an index takes no more, the length of its hash."""

_ATTRIBUTES: Final = TPMA_NV.PIN_FAIL | TPMA_NV.POLICYWRITE | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA
_NO_EXPIRATION: Final = 0


class PinCounters(Structure, frozen=True):
    """TPMS_NV_PIN_COUNTER_PARAMETERS: what the index holds."""

    pin_count: UINT32
    """Wrong attempts since the last right one."""
    pin_limit: UINT32
    """No attempt is judged when there were so many."""


_COUNTERS_BYTES: Final = 8
_COORDINATE_BYTES: Final = 32
_REFERENCE_BYTES: Final = 16
_WRONG_AUTH_VALUE: Final = (Status.TPM_20_E_BAD_AUTH, Status.TPM_20_E_AUTH_FAIL)


class PinIndex(Structure, frozen=True):
    """An index as it must be."""

    handle: UINT32
    writer: TPMS_ECC_POINT
    """The public key of who may write, P-256."""
    reference: TPM2B_DIGEST
    """Random: tells this definition from any other. The writer signs it (policyRef)."""

    def public(self, *, written: bool = True) -> TPMS_NV_PUBLIC:
        writer = verifying_template(self.writer).name()
        attributes = _ATTRIBUTES | TPMA_NV.WRITTEN if written else _ATTRIBUTES
        policy = Policy().signed(writer, self.reference)
        return TPMS_NV_PUBLIC(
            self.handle, TPM_ALG.SHA256, attributes, policy.digest, _COUNTERS_BYTES
        )

    def entity(self, *, written: bool = True) -> Entity:
        return Entity(self.handle, self.public(written=written).name())


def define_pin_index(
    tpm: Tpm,
    srk: PinnedSrk,
    handle: int,
    auth_value: bytes,
    writer: ec.EllipticCurvePrivateKey,
    pin_limit: int,
) -> PinIndex:
    """Define an index. The authValue travels encrypted.

    To change a PIN, define a second index, seal to it, and remove the first one. Raises
    ``TPM_20_E_NV_DEFINED`` when the handle is taken, perhaps by an index whose definition failed
    half-way, and ``KEYISO_E_TPM_PIN_INDEX`` when somebody replaced the index meanwhile.
    """
    if handle not in OWNER_INDICES:
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, f"{handle:#x} is no index of the owner")
    if len(auth_value) != AUTH_VALUE_BYTES:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"the authValue must have {AUTH_VALUE_BYTES} bytes"
        )
    index = PinIndex(handle, _public_point(writer), tpm.random(_REFERENCE_BYTES))
    owner = Entity.of(TPM_RH.OWNER)
    with held_srk(tpm, srk) as key, held_session(tpm, key) as session:
        command = TPM2_NV_DefineSpace(owner, auth_value, index.public(written=False))
        tpm.run(command, session.authorize())
        _write(tpm, key, index, PinCounters(0, pin_limit), writer, written=False)
        with held_session(tpm, key, TPM_SE.POLICY) as policy:
            try:
                attempt_pin(tpm, session, policy, index, auth_value)
            except NCryptError as error:
                if error.status == Status.TPM_20_E_AUTH_FAIL:
                    raise _not_ours(handle, "was replaced while it was defined") from None
                raise
    return index


def write_pin_counters(
    tpm: Tpm,
    srk: PinnedSrk,
    index: PinIndex,
    counters: PinCounters,
    writer: ec.EllipticCurvePrivateKey,
) -> None:
    """Set the counters, of which only the writer is capable.

    Raises ``KEYISO_E_TPM_PIN_INDEX`` for a missing index and for another one.
    """
    with held_srk(tpm, srk) as key:
        with held_session(tpm, key) as session:
            check_pin_index(tpm, session, index)
        _write(tpm, key, index, counters, writer, written=True)


def read_pin_counters(tpm: Tpm, srk: PinnedSrk, index: PinIndex) -> PinCounters:
    """The counters, on the word of the TPM.

    Raises ``KEYISO_E_TPM_PIN_INDEX`` for a missing index and for another one.
    """
    with held_srk(tpm, srk) as key, held_session(tpm, key) as session:
        check_pin_index(tpm, session, index)
        command = TPM2_NV_Read(Entity.of(TPM_RH.OWNER), index.entity(), _COUNTERS_BYTES, 0)
        read = tpm.run(command, session.authorize())
    try:
        return PinCounters.decode(read.data)
    except MalformedError as error:
        raise answer_error(command, str(error)) from None


def remove_pin_index(tpm: Tpm, srk: PinnedSrk, handle: int) -> None:
    """Remove the PIN index under a handle, whoever defined it: who defines another one needs it
    gone. The TPM has none there when this returns.

    Raises ``KEYISO_E_TPM_PIN_INDEX`` when there is none, or an index of another kind.
    """
    with held_srk(tpm, srk) as key, held_session(tpm, key) as session:
        try:
            found = tpm.run(TPM2_NV_ReadPublic(Entity.of(handle))).nv_public
        except NCryptError as error:
            raise _explained(error, handle) from None
        if found.attributes & ~TPMA_NV.WRITTEN != _ATTRIBUTES:
            raise _not_ours(handle, "is no PIN index")
        command = TPM2_NV_UndefineSpace(Entity.of(TPM_RH.OWNER), Entity(handle, found.name()))
        tpm.run(command, session.authorize())


def check_pin_index(tpm: Tpm, session: Session, index: PinIndex) -> None:
    """Raises ``KEYISO_E_TPM_PIN_INDEX`` unless the TPM has this index, written to by its writer.

    A wrong PIN and a redefined index give the same answer to TPM2_PolicySecret; this tells them
    apart.
    """
    try:
        # The session's HMAC covers the Name: the TPM refuses when it has another one there.
        tpm.run(TPM2_NV_ReadPublic(index.entity()), session.authorize())
    except NCryptError as error:
        raise _explained(error, index.handle) from None


def attempt_pin(
    tpm: Tpm, session: Session, policy: Session, index: PinIndex, auth_value: bytes
) -> None:
    """An attempt, which the index counts when it is wrong. The policy session gets
    `Policy.secret` of the index.

    Raises ``TPM_20_E_AUTH_FAIL`` for a wrong authValue and ``TPM_20_E_LOCKOUT`` when there were
    too many before, on nobody's word: the counters prove which. Raises
    ``KEYISO_E_TPM_PIN_INDEX`` for a missing index and for another one, which counts nothing.
    """
    check_pin_index(tpm, session, index)
    command = TPM2_PolicySecret(index.entity(), policy.entity, b"", b"", b"", _NO_EXPIRATION)
    try:
        tpm.run(command, session.authorize(auth_value))
    except NCryptError as error:
        if error.status in _WRONG_AUTH_VALUE:
            raise ncrypt_error(
                Status.TPM_20_E_AUTH_FAIL, f"the NV index {index.handle:#x} has another authValue"
            ) from None
        if error.status == Status.TPM_20_E_AUTH_UNAVAILABLE:
            raise ncrypt_error(
                Status.TPM_20_E_LOCKOUT,
                f"the NV index {index.handle:#x} has counted as many wrong attempts as it allows",
            ) from None
        raise


def _write(
    tpm: Tpm,
    key: HeldObject,
    index: PinIndex,
    counters: PinCounters,
    writer: ec.EllipticCurvePrivateKey,
    *,
    written: bool,
) -> None:
    """Write in a session for which the writer signs the TPM's nonce and this one command."""
    entity = index.entity(written=written)
    command = TPM2_NV_Write(entity, entity, counters.encode(), 0)
    cp_hash = command.cp_hash(command.parameters())
    with (
        held_session(tpm, key, TPM_SE.POLICY) as session,
        held_public_key(tpm, verifying_template(index.writer)) as verifier,
    ):
        message = session.nonce_tpm + _NO_EXPIRATION.to_bytes(4) + cp_hash + index.reference
        signature = writer.sign(message, ec.ECDSA(hashes.SHA256()))
        tpm.run(
            TPM2_PolicySigned(
                verifier.entity,
                session.entity,
                session.nonce_tpm,
                cp_hash,
                index.reference,
                _NO_EXPIRATION,
                _tpm_signature(signature),
            )
        )
        tpm.run(command, session.authorize(encrypt=False))


def _tpm_signature(der: bytes) -> TPMT_SIGNATURE:
    r, s = (number.to_bytes(_COORDINATE_BYTES) for number in decode_dss_signature(der))
    return TPMT_SIGNATURE(TPM_ALG.ECDSA, TPMS_SIGNATURE_ECC(TPM_ALG.SHA256, r, s))


def _public_point(writer: ec.EllipticCurvePrivateKey) -> TPMS_ECC_POINT:
    if not isinstance(writer.curve, ec.SECP256R1):
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "the writer's key must be P-256")
    numbers = writer.public_key().public_numbers()
    return TPMS_ECC_POINT(
        numbers.x.to_bytes(_COORDINATE_BYTES), numbers.y.to_bytes(_COORDINATE_BYTES)
    )


def _explained(error: NCryptError, handle: int) -> NCryptError:
    if error.status == Status.TPM_20_E_HANDLE:
        return _not_ours(handle, "does not exist")
    if error.status in _WRONG_AUTH_VALUE:
        return _not_ours(handle, "is another one, or was never written")
    return error


def _not_ours(handle: int, what: str) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_TPM_PIN_INDEX,
        f"the TPM's NV index {handle:#x} {what}",
        "Set the PIN anew, in the manner that is there for a forgotten PIN.",
    )
