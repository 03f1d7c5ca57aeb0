"""Commands that are not used by what is sealed: keys of the hardware, counters, clock, random."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from bench.tpm import DECRYPTING_KEY, SHA256, SIGNING_KEY, made_key
from keyiso.status import Status
from keyiso.tpm.constants import TPM_ALG, TPM_RH, TPMA_NV
from keyiso.tpm.entity import Entity
from keyiso.tpm.general_commands import TPM2_GetRandom, TPM2_ReadClock
from keyiso.tpm.held import held_session
from keyiso.tpm.nv_commands import (
    TPM2_NV_DefineSpace,
    TPM2_NV_Increment,
    TPM2_NV_Read,
    TPM2_NV_ReadPublic,
    TPM2_NV_UndefineSpace,
    TPM2_NV_Write,
)
from keyiso.tpm.nv_public import TPMS_NV_PUBLIC
from keyiso.tpm.object_commands import (
    TPM2_ReadPublic,
    TPM2_RSA_Decrypt,
    TPM2_Sign,
)
from keyiso.tpm.public_area import (
    TPMS_ECC_POINT,
    TPMS_RSA_ID,
    TPMT_SCHEME,
)
from keyiso.tpm.session import EmptyPassword
from keyiso.tpm.signature import TPMS_SIGNATURE_ECC
from keyiso.tpm.srk import enrol_srk, held_srk
from keyiso.tpm.templates import SRK_TEMPLATES
from keyiso.tpm.ticket import NULL_HASHCHECK
from keyiso.tpm.tpm import Tpm
from tests.conformance.statuses import fails
from tests.tpm.swtpm import Swtpm

OWNER = Entity.of(TPM_RH.OWNER)


def test_a_key_of_the_hardware_signs(swtpm: Swtpm) -> None:
    digest = bytes(range(32))
    with (
        swtpm.opened() as tpm,
        held_srk(tpm, enrol_srk(tpm)) as parent,
        held_session(tpm, parent) as session,
        made_key(tpm, parent, SIGNING_KEY) as key,
    ):
        scheme = TPMT_SCHEME(TPM_ALG.ECDSA, SHA256)
        sign = TPM2_Sign(key.entity, digest, scheme, NULL_HASHCHECK)
        signature = tpm.run(sign, session.authorize()).signature.signature
        read = tpm.run(TPM2_ReadPublic(key.entity), session.authorize())

    assert (read.out_public, read.name) == (key.public, key.entity.name)
    assert isinstance(key.public.unique, TPMS_ECC_POINT)
    assert isinstance(signature, TPMS_SIGNATURE_ECC)
    x, y = int.from_bytes(key.public.unique.x), int.from_bytes(key.public.unique.y)
    ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key().verify(
        utils.encode_dss_signature(
            int.from_bytes(signature.signature_r), int.from_bytes(signature.signature_s)
        ),
        digest,
        ec.ECDSA(utils.Prehashed(hashes.SHA256())),
    )


def test_a_key_of_the_hardware_decrypts(swtpm: Swtpm) -> None:
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    with (
        swtpm.opened() as tpm,
        held_srk(tpm, enrol_srk(tpm)) as parent,
        held_session(tpm, parent) as session,
        made_key(tpm, parent, DECRYPTING_KEY) as key,
    ):
        assert isinstance(key.public.unique, TPMS_RSA_ID)
        modulus = int.from_bytes(key.public.unique.modulus)
        ciphertext = rsa.RSAPublicNumbers(65537, modulus).public_key().encrypt(b"message", oaep)
        scheme = TPMT_SCHEME(TPM_ALG.OAEP, SHA256)
        decrypt = TPM2_RSA_Decrypt(key.entity, ciphertext, scheme, b"")
        decrypted = tpm.run(decrypt, session.authorize())

    assert decrypted.message == b"message"
    assert "message" not in repr(decrypted)


def test_the_benchmark_runs_and_leaves_nothing(swtpm: Swtpm) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.tpm", str(swtpm.socket), "--times", "1"],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.stdout.count(" ms\n") == 7


INDEX = TPMS_NV_PUBLIC(
    0x01800030,
    TPM_ALG.SHA256,
    TPMA_NV.OWNERWRITE | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA,
    b"",
    8,
)


def written(index: TPMS_NV_PUBLIC) -> Entity:
    public = msgspec.structs.replace(index, attributes=index.attributes | TPMA_NV.WRITTEN)
    return Entity(public.nv_index, public.name())


def test_an_index_keeps_what_is_written(swtpm: Swtpm) -> None:
    new = Entity(INDEX.nv_index, INDEX.name())
    with (
        swtpm.opened() as tpm,
        held_srk(tpm, enrol_srk(tpm)) as key,
        held_session(tpm, key) as session,
    ):
        tpm.run(TPM2_NV_DefineSpace(OWNER, b"", INDEX), session.authorize())
        with fails(Status.TPM_20_E_NV_UNINITIALIZED):
            tpm.run(TPM2_NV_Read(OWNER, new, 8, 0), session.authorize())
        tpm.run(TPM2_NV_Write(OWNER, new, b"eight by", 0), session.authorize())
        index = written(INDEX)
        read = tpm.run(TPM2_NV_Read(OWNER, index, 5, 3), session.authorize())
        public = tpm.run(TPM2_NV_ReadPublic(index), session.authorize())
        tpm.run(TPM2_NV_UndefineSpace(OWNER, index), session.authorize())

    assert read.data == b"ht by"
    assert public.nv_name == index.name


def test_a_counter_only_goes_up(swtpm: Swtpm) -> None:
    """Through a power loss too, and through being removed and defined again."""
    counter = msgspec.structs.replace(INDEX, attributes=INDEX.attributes | TPMA_NV.COUNTER)
    new, index = Entity(counter.nv_index, counter.name()), written(counter)

    def value(tpm: Tpm) -> int:
        read = tpm.run(TPM2_NV_Read(OWNER, index, 8, 0), EmptyPassword())
        return int.from_bytes(read.data)

    with swtpm.opened() as tpm:
        tpm.run(TPM2_NV_DefineSpace(OWNER, b"", counter), EmptyPassword())
        tpm.run(TPM2_NV_Increment(OWNER, new), EmptyPassword())
        first = value(tpm)
        tpm.run(TPM2_NV_Increment(OWNER, index), EmptyPassword())
    swtpm.reboot(orderly=False)
    with swtpm.opened() as tpm:
        second = value(tpm)
        tpm.run(TPM2_NV_UndefineSpace(OWNER, index), EmptyPassword())
        tpm.run(TPM2_NV_DefineSpace(OWNER, b"", counter), EmptyPassword())
        tpm.run(TPM2_NV_Increment(OWNER, new), EmptyPassword())
        third = value(tpm)

    assert second == first + 1
    assert third > second


@pytest.mark.parametrize("orderly", [True, False], ids=["orderly", "power loss"])
def test_the_clock_tells_of_a_restart(swtpm: Swtpm, orderly: bool) -> None:
    with swtpm.opened() as tpm:
        before = tpm.run(TPM2_ReadClock()).clock_info
    swtpm.reboot(orderly=orderly)
    with swtpm.opened() as tpm:
        after = tpm.run(TPM2_ReadClock()).clock_info

    assert after.reset_count == before.reset_count + 1
    assert after.restart_count == 0
    assert after.safe == orderly


@pytest.mark.parametrize("algorithm", list(SRK_TEMPLATES), ids=lambda one: one.name)
def test_random_bytes_come_encrypted_in_a_session(swtpm: Swtpm, algorithm: TPM_ALG) -> None:
    with (
        swtpm.opened() as tpm,
        held_srk(tpm, enrol_srk(tpm, algorithm)) as key,
        held_session(tpm, key) as session,
    ):
        drawn = {tpm.run(TPM2_GetRandom(32), session.authorize()).random_bytes for _ in range(3)}

    assert len(drawn) == 3
    assert {len(one) for one in drawn} == {32}
