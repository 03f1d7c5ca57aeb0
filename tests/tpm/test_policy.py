"""Policies that are computed in software are the TPM's, and those of tpm2-tools."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG, TPM_CC, TPM_EO, TPM_RH, TPM_SE, TPMA_NV
from keyiso.tpm.entity import Entity
from keyiso.tpm.general_commands import TPM2_StartAuthSession
from keyiso.tpm.held import held_object, held_session
from keyiso.tpm.nv_commands import TPM2_NV_DefineSpace, TPM2_NV_Write
from keyiso.tpm.nv_public import TPMS_NV_PUBLIC
from keyiso.tpm.object_commands import TPM2_Create, TPM2_Unseal
from keyiso.tpm.pcr import RESET_VALUE, select
from keyiso.tpm.policy import Policy
from keyiso.tpm.policy_commands import (
    TPM2_PolicyAuthValue,
    TPM2_PolicyCommandCode,
    TPM2_PolicyGetDigest,
    TPM2_PolicyNV,
    TPM2_PolicyPCR,
    TPM2_PolicySecret,
)
from keyiso.tpm.public_area import NO_CIPHER, TPMS_ECC_POINT, TPMS_SENSITIVE_CREATE
from keyiso.tpm.session import EmptyPassword, Session
from keyiso.tpm.srk import enrol_srk, held_srk
from keyiso.tpm.templates import sealed_template, verifying_template
from keyiso.tpm.tpm import Tpm
from tests.conformance.statuses import fails
from tests.tpm.swtpm import Swtpm

OWNER = Entity.of(TPM_RH.OWNER)
NULL = Entity.of(TPM_RH.NULL)
INDEX = TPMS_NV_PUBLIC(
    0x01800020,
    TPM_ALG.SHA256,
    TPMA_NV.AUTHWRITE | TPMA_NV.AUTHREAD | TPMA_NV.NO_DA,
    b"",
    8,
)
WRITTEN_INDEX = TPMS_NV_PUBLIC(
    INDEX.nv_index, INDEX.name_alg, INDEX.attributes | TPMA_NV.WRITTEN, b"", 8
)


def define_index(tpm: Tpm, value: bytes) -> Entity:
    """An ordinary index without a password, written to."""
    tpm.run(TPM2_NV_DefineSpace(OWNER, b"", INDEX), EmptyPassword())
    new = Entity(INDEX.nv_index, INDEX.name())
    tpm.run(TPM2_NV_Write(new, new, value, 0), EmptyPassword())
    return Entity(INDEX.nv_index, WRITTEN_INDEX.name())


def digest_of(tpm: Tpm, session: Entity) -> bytes:
    return tpm.run(TPM2_PolicyGetDigest(session)).policy_digest


@contextmanager
def trial(tpm: Tpm) -> Iterator[Entity]:
    """A session that only computes."""
    started = tpm.run(
        TPM2_StartAuthSession(NULL, NULL, bytes(32), b"", TPM_SE.TRIAL, NO_CIPHER, TPM_ALG.SHA256)
    )
    with tpm.flushing(started.session_handle):
        yield Entity.of(started.session_handle)


def test_each_step_has_the_digest_of_the_tpm(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        index = define_index(tpm, b"\0\0\0\0\0\0\0\x05")
        with trial(tpm) as session:
            policy = Policy()
            assert digest_of(tpm, session) == policy.digest

            tpm.run(TPM2_PolicyPCR(session, b"", select([12, 0, 7])))
            policy = policy.pcr({7: RESET_VALUE, 0: RESET_VALUE, 12: RESET_VALUE})
            assert digest_of(tpm, session) == policy.digest

            tpm.run(TPM2_PolicySecret(index, session, b"", b"", b"ref", 0), EmptyPassword())
            policy = policy.secret(index.name, b"ref")
            assert digest_of(tpm, session) == policy.digest

            tpm.run(
                TPM2_PolicyNV(index, index, session, b"\x05", 7, TPM_EO.UNSIGNED_GE),
                EmptyPassword(),
            )
            policy = policy.nv(index.name, b"\x05", 7, TPM_EO.UNSIGNED_GE)
            assert digest_of(tpm, session) == policy.digest

            tpm.run(TPM2_PolicyCommandCode(session, TPM_CC.Unseal))
            policy = policy.command_code(TPM_CC.Unseal)
            assert digest_of(tpm, session) == policy.digest

            tpm.run(TPM2_PolicyAuthValue(session))
            assert digest_of(tpm, session) == policy.auth_value().digest


def by_tools(swtpm: Swtpm, *command: str) -> bytes:
    """The digest that a tool's command gives in a trial session."""
    swtpm.tool("tpm2_startauthsession", "-S", "trial.ctx")
    swtpm.tool(*command, "-S", "trial.ctx", "-L", "policy")
    swtpm.flush_all()
    return (swtpm.directory / "policy").read_bytes()


def test_each_step_has_the_digest_of_tpm2_tools(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        index = define_index(tpm, b"\0\0\0\0\0\0\0\x05")
    handle = f"{index.handle:#x}"
    (swtpm.directory / "operand").write_bytes(b"\x05")
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (swtpm.directory / "key.pem").write_bytes(
        key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    numbers = key.public_numbers()
    signer = verifying_template(
        TPMS_ECC_POINT(numbers.x.to_bytes(32), numbers.y.to_bytes(32))
    ).name()
    swtpm.tool(
        *("tpm2_loadexternal", "-C", "n", "-G", "ecc", "-u", "key.pem", "-c", "key.ctx"),
        *("-a", "userwithauth|sign", "-n", "key.name"),
    )
    swtpm.flush_all()

    assert (swtpm.directory / "key.name").read_bytes() == signer
    pcrs = {12: RESET_VALUE, 7: RESET_VALUE}
    assert by_tools(swtpm, "tpm2_policypcr", "-l", "sha256:7,12") == Policy().pcr(pcrs).digest
    assert by_tools(swtpm, "tpm2_policysecret", "-c", handle) == Policy().secret(index.name).digest
    assert (
        by_tools(
            swtpm,
            *("tpm2_policynv", handle, "uge", "-C", handle, "-i", "operand", "--offset", "7"),
        )
        == Policy().nv(index.name, b"\x05", 7, TPM_EO.UNSIGNED_GE).digest
    )
    assert (
        by_tools(swtpm, "tpm2_policycommandcode", "TPM2_CC_Unseal")
        == Policy().command_code(TPM_CC.Unseal).digest
    )
    assert (
        by_tools(swtpm, "tpm2_policycountertimer", "--ult", "time=4000000000")
        == Policy().counter_timer((4_000_000_000).to_bytes(8), 0, TPM_EO.UNSIGNED_LT).digest
    )
    assert by_tools(swtpm, "tpm2_policyauthvalue") == Policy().auth_value().digest


Fulfil = Callable[[Tpm, Session, Entity], None]


def nv_at_least_5(tpm: Tpm, session: Session, index: Entity) -> None:
    tpm.run(
        TPM2_PolicyNV(index, index, session.entity, b"\x05", 7, TPM_EO.UNSIGNED_GE),
        EmptyPassword(),
    )


def only_unseal(tpm: Tpm, session: Session, index: Entity) -> None:
    tpm.run(TPM2_PolicyCommandCode(session.entity, TPM_CC.Unseal))


def auth_value(tpm: Tpm, session: Session, index: Entity) -> None:
    tpm.run(TPM2_PolicyAuthValue(session.entity))


@pytest.mark.parametrize(
    ("fulfil", "secret_auth"),
    [
        (nv_at_least_5, b""),
        (only_unseal, b""),
        (auth_value, b"known"),
        (auth_value, b"ends with zeros\0\0"),
    ],
)
def test_a_session_that_fulfils_a_policy_unseals(
    swtpm: Swtpm, fulfil: Fulfil, secret_auth: bytes
) -> None:
    """And one that does not does not; an authValue counts without its final zeros."""
    with swtpm.opened() as tpm:
        index = define_index(tpm, b"\0\0\0\0\0\0\0\x06")
        policies: dict[Fulfil, Policy] = {
            nv_at_least_5: Policy().nv(index.name, b"\x05", 7, TPM_EO.UNSIGNED_GE),
            only_unseal: Policy().command_code(TPM_CC.Unseal),
            auth_value: Policy().auth_value(),
        }
        with held_srk(tpm, enrol_srk(tpm)) as key:
            with held_session(tpm, key) as session:
                made = tpm.run(
                    TPM2_Create(
                        key.entity,
                        TPMS_SENSITIVE_CREATE(secret_auth, b"secret"),
                        sealed_template(policies[fulfil].digest),
                        b"",
                        (),
                    ),
                    session.authorize(),
                )
            with (
                held_object(tpm, key, made.out_private, made.out_public) as item,
                held_session(tpm, key, TPM_SE.POLICY) as session,
            ):
                command = TPM2_Unseal(item.entity)
                with fails(Status.TPM_20_E_POLICY_FAIL):
                    tpm.run(command, session.authorize())
                fulfil(tpm, session, index)
                if fulfil is auth_value:
                    with fails(Status.TPM_20_E_BAD_AUTH):
                        tpm.run(command, session.authorize(b"wrong"))
                assert tpm.run(command, session.authorize(secret_auth)).out_data == b"secret"


def test_a_comparison_with_an_index_that_does_not_hold_is_refused(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        index = define_index(tpm, b"\0\0\0\0\0\0\0\x04")
        with (
            held_srk(tpm, enrol_srk(tpm)) as key,
            held_session(tpm, key, TPM_SE.POLICY) as session,
            fails(Status.TPM_20_E_POLICY),
        ):
            nv_at_least_5(tpm, session, index)
