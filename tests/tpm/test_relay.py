"""What a relay, or a TPM that is not ours, learns and can do: nothing, and make it fail."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.tpm.command import Header
from keyiso.tpm.constants import TPM_ALG, TPM_CC, TPM_RH, TPM_SE, TPM_ST, TPMA_OBJECT
from keyiso.tpm.entity import Entity
from keyiso.tpm.held import held_object, held_session
from keyiso.tpm.latch import LATCH_PCR, extend_latch, read_pcr_state, read_pcrs
from keyiso.tpm.nv_commands import TPM2_NV_DefineSpace, TPM2_NV_UndefineSpace
from keyiso.tpm.object_commands import TPM2_Create, TPM2_Unseal
from keyiso.tpm.pcr import RESET_VALUE, select
from keyiso.tpm.pin_index import define_pin_index
from keyiso.tpm.pin_sealed import seal_under_pin, unseal_with_pin
from keyiso.tpm.policy_commands import TPM2_PolicyPCR
from keyiso.tpm.public_area import TPMS_SENSITIVE_CREATE
from keyiso.tpm.sealed_root import SealedRoot, seal_boot_root, seal_machine_root, unseal_root
from keyiso.tpm.session import EmptyPassword
from keyiso.tpm.srk import enrol_srk, held_srk
from keyiso.tpm.templates import SRK_TEMPLATES, sealed_template
from keyiso.tpm.transport import Transport
from tests.conformance.statuses import fails
from tests.tpm.relays import Relay, Tampering, code_of, refusal, windows
from tests.tpm.swtpm import Swtpm, flush_all, tpm_on

SECRET = random.Random(1).randbytes(32)
AUTH_VALUE = random.Random(2).randbytes(32)
ALGORITHMS = pytest.mark.parametrize(
    "algorithm", [TPM_ALG.ECC, TPM_ALG.RSA], ids=lambda one: one.name
)


def sealed(swtpm: Swtpm) -> SealedRoot:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        return seal_machine_root(tpm, SECRET, srk, read_pcr_state(tpm, srk))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Swtpm]:
    """A TPM that somebody else controls."""
    (tmp_path / "other").mkdir()
    process = Swtpm(tmp_path / "other")
    try:
        process.boot()
        yield process
    finally:
        process.power_off()


# --- listening ---------------------------------------------------------------------------------


def given_away(relay: Relay, *secrets: bytes) -> set[bytes]:
    """Pieces of secrets that passed through a relay."""
    wire = relay.wire()
    return {piece for secret in secrets for piece in windows(secret) if piece in wire}


@ALGORITHMS
def test_a_relay_sees_no_root(swtpm: Swtpm, algorithm: TPM_ALG) -> None:
    with swtpm.transport() as transport:
        relay = Relay(transport)
        tpm = tpm_on(relay)
        srk = enrol_srk(tpm, algorithm)
        state = read_pcr_state(tpm, srk)
        for seal in (seal_machine_root, seal_boot_root):
            assert unseal_root(tpm, seal(tpm, SECRET, srk, state)) == SECRET
        extend_latch(tpm, srk)

    assert {TPM_CC.Create, TPM_CC.Unseal} <= set(relay.codes())
    assert given_away(relay, SECRET) == set()


@ALGORITHMS
def test_a_relay_sees_neither_auth_value_nor_what_is_under_the_pin(
    swtpm: Swtpm, algorithm: TPM_ALG
) -> None:
    writer = ec.generate_private_key(ec.SECP256R1())
    with swtpm.transport() as transport:
        relay = Relay(transport)
        tpm = tpm_on(relay)
        srk = enrol_srk(tpm, algorithm)
        index = define_pin_index(tpm, srk, 0x01800000, AUTH_VALUE, writer, 3)
        stored = seal_under_pin(tpm, SECRET, srk, index)
        assert unseal_with_pin(tpm, stored, AUTH_VALUE) == SECRET
        with fails(Status.TPM_20_E_AUTH_FAIL):
            unseal_with_pin(tpm, stored, bytes(32))

    assert {TPM_CC.NV_DefineSpace, TPM_CC.PolicySecret} <= set(relay.codes())
    assert given_away(relay, SECRET, AUTH_VALUE) == set()


def test_the_search_finds_what_is_sent_in_clear(swtpm: Swtpm) -> None:
    """The control: a secret that is sealed and unsealed without a session."""
    template = msgspec.structs.replace(
        sealed_template(b""), object_attributes=TPMA_OBJECT.userWithAuth
    )
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    with swtpm.transport() as transport:
        to_seal, to_unseal = Relay(transport), Relay(transport)
        tpm = tpm_on(to_seal)
        with held_srk(tpm, srk) as key:
            sensitive = TPMS_SENSITIVE_CREATE(data=SECRET)
            made = tpm.run(TPM2_Create(key.entity, sensitive, template, b"", ()), EmptyPassword())
        tpm = tpm_on(to_unseal)
        with (
            held_srk(tpm, srk) as key,
            held_object(tpm, key, made.out_private, made.out_public) as item,
        ):
            tpm.run(TPM2_Unseal(item.entity), EmptyPassword())

    for relay in (to_seal, to_unseal):
        assert len(given_away(relay, SECRET)) == len(SECRET) - 8 + 1


# --- changing ----------------------------------------------------------------------------------


def flipped(answer: bytes, bit: int) -> bytes:
    at = bit // 8
    return answer[:at] + bytes([answer[at] ^ 1 << bit % 8]) + answer[at + 1 :]


def test_every_flipped_bit_of_an_unsealed_root_is_noticed(swtpm: Swtpm) -> None:
    """Header, sizes, the encrypted secret, nonce, attributes, HMAC: each bit of them."""
    root = sealed(swtpm)
    with swtpm.transport() as transport:
        tpm = tpm_on(transport)
        with (
            held_srk(tpm, root.srk) as key,
            held_session(tpm, key, TPM_SE.POLICY) as session,
            held_object(tpm, key, root.sealed.private, root.sealed.public) as item,
        ):
            tpm.run(TPM2_PolicyPCR(session.entity, b"", select(root.pcrs.by_pcr)))
            command = TPM2_Unseal(item.entity)
            use = session.authorize()
            answer = transport.exchange(use.request(command))
            for bit in range(8 * len(answer)):
                with fails(Status.KEYISO_E_TPM_ANSWER):
                    use.result(command, flipped(answer, bit))

            assert use.result(command, answer).out_data == SECRET


def test_a_flipped_bit_in_any_byte_of_any_answer_gives_an_error_or_the_root(
    swtpm: Swtpm,
) -> None:
    """Never another root, and never a crash."""
    root = sealed(swtpm)
    seed = random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    outcomes = {"error": 0, "root": 0}
    with swtpm.transport() as transport:
        relay = Relay(transport)
        unseal_root(tpm_on(relay), root)
        for which, answer in enumerate(relay.answers):
            for byte in range(len(answer)):
                bit = 8 * byte + rng.randrange(8)
                tampering = Tampering(transport, which, partial(flipped, bit=bit))
                try:
                    found = unseal_root(tpm_on(tampering), root)
                except NCryptError:
                    outcomes["error"] += 1
                else:
                    assert found == SECRET, (seed, which, bit)
                    outcomes["root"] += 1
                flush_all(tpm_on(transport))  # a handle may have been changed

    assert min(outcomes.values()) > 100, outcomes


def test_an_answer_without_its_session_is_noticed(swtpm: Swtpm) -> None:
    """A relay that takes the HMAC away, and says that none was asked for."""
    root = sealed(swtpm)

    def stripped(answer: bytes) -> bytes:
        size = int.from_bytes(answer[10:14])
        parameters = answer[14 : 14 + size]
        return Header(TPM_ST.NO_SESSIONS, 10 + size, 0).encode() + parameters

    with swtpm.transport() as transport:
        relay = Relay(transport)
        unseal_root(tpm_on(relay), root)
        which = relay.codes().index(TPM_CC.Unseal)
        with fails(Status.KEYISO_E_TPM_ANSWER):
            unseal_root(tpm_on(Tampering(transport, which, stripped)), root)


def test_an_answer_from_before_is_noticed(swtpm: Swtpm) -> None:
    """A relay that repeats what the TPM once said."""
    root = sealed(swtpm)
    with swtpm.transport() as transport:
        relay = Relay(transport)
        unseal_root(tpm_on(relay), root)
        which = relay.codes().index(TPM_CC.Unseal)
        old = relay.answers[which]
        with fails(Status.KEYISO_E_TPM_ANSWER):
            unseal_root(tpm_on(Tampering(transport, which, lambda _: old)), root)


class Swallowing(Relay):
    """Keeps commands of one code from the TPM, and answers with success."""

    def __init__(self, transport: Transport, code: TPM_CC) -> None:
        super().__init__(transport)
        self._code = code

    def answer(self, command: bytes) -> bytes:
        return refusal(0) if code_of(command) is self._code else super().answer(command)


def test_a_latch_that_did_not_fall_is_noticed(swtpm: Swtpm) -> None:
    with swtpm.transport() as transport:
        tpm = tpm_on(transport)
        srk = enrol_srk(tpm)
        with fails(Status.KEYISO_E_TPM_ANSWER):
            extend_latch(tpm_on(Swallowing(transport, TPM_CC.PCR_Extend)), srk)

        assert read_pcrs(tpm, [LATCH_PCR]) == {LATCH_PCR: RESET_VALUE}


def test_a_relay_cannot_have_a_root_sealed_to_other_values(swtpm: Swtpm) -> None:
    """Else it would let the root be sealed to what the PCR holds when the latch has fallen."""
    with swtpm.transport() as transport:
        srk = enrol_srk(tpm_on(transport))
        relay = Relay(transport)
        read_pcr_state(tpm_on(relay), srk)
        which = relay.codes().index(TPM_CC.PCR_Read)
        assert RESET_VALUE in relay.answers[which]

        lie = Tampering(transport, which, lambda answer: answer.replace(RESET_VALUE, b"x" * 32))
        with fails(Status.KEYISO_E_TPM_ANSWER):
            read_pcr_state(tpm_on(lie), srk)


class Redirecting(Relay):
    """Has the TPM make a primary key of another kind than was asked for."""

    def answer(self, command: bytes) -> bytes:
        if code_of(command) is TPM_CC.CreatePrimary:
            asked = SRK_TEMPLATES[TPM_ALG.ECC]
            attributes = asked.object_attributes & ~TPMA_OBJECT.noDA
            other = msgspec.structs.replace(asked, object_attributes=attributes)
            command = command.replace(asked.encode(), other.encode())
        return super().answer(command)


def test_a_relay_cannot_have_a_key_of_another_kind_enrolled(swtpm: Swtpm) -> None:
    with swtpm.transport() as transport, fails(Status.KEYISO_E_TPM_ANSWER) as caught:
        enrol_srk(tpm_on(Redirecting(transport)))

    assert "not what its template says" in caught.value.cause


# --- pretending --------------------------------------------------------------------------------


class Impostor(Relay):
    """Shows the pinned key, which is public, and has another TPM do the rest."""

    def __init__(self, transport: Transport, other: Transport) -> None:
        super().__init__(transport)
        self._other = other

    def answer(self, command: bytes) -> bytes:
        if code_of(command) is not TPM_CC.CreatePrimary:
            return self._other.exchange(command)
        # The handle is the same in both: the first one.
        self._other.exchange(command)
        return super().answer(command)


@ALGORITHMS
def test_a_tpm_that_only_shows_the_pinned_key_learns_nothing(
    swtpm: Swtpm, other: Swtpm, algorithm: TPM_ALG
) -> None:
    """It has the key's public part and not the private one, so it cannot read the salt."""
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm, algorithm)
        state = read_pcr_state(tpm, srk)
    with swtpm.transport() as transport, other.transport() as fake:
        impostor = Impostor(transport, fake)
        with pytest.raises(NCryptError):
            seal_machine_root(tpm_on(impostor), SECRET, srk, state)
        flush_all(tpm_on(transport))

    assert TPM_CC.StartAuthSession in impostor.codes()
    assert given_away(impostor, SECRET) == set()


class Replacing(Relay):
    """The owner of a TPM: before the first write to a new index he puts another one there, with
    the same public area and an authValue that he knows."""

    evil = b"e" * 32
    replaced = False

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._defined: TPM2_NV_DefineSpace | None = None

    def answer(self, command: bytes) -> bytes:
        tpm = tpm_on(self._transport)
        if code_of(command) is TPM_CC.NV_DefineSpace:
            handles, _, parameters = TPM2_NV_DefineSpace.take_apart(command)
            self._defined = TPM2_NV_DefineSpace.decode(handles + parameters)
        if code_of(command) is TPM_CC.NV_Write and not self.replaced:
            assert self._defined is not None
            public = self._defined.public_info
            owner = Entity.of(TPM_RH.OWNER)
            index = Entity(public.nv_index, public.name())
            tpm.run(TPM2_NV_UndefineSpace(owner, index), EmptyPassword())
            tpm.run(TPM2_NV_DefineSpace(owner, self.evil, public), EmptyPassword())
            self.replaced = True
        return super().answer(command)


def test_an_index_that_the_owner_replaces_before_its_first_write_is_noticed(
    swtpm: Swtpm,
) -> None:
    writer = ec.generate_private_key(ec.SECP256R1())
    with swtpm.transport() as transport:
        srk = enrol_srk(tpm_on(transport))
        relay = Replacing(transport)
        with fails(Status.KEYISO_E_TPM_PIN_INDEX) as caught:
            define_pin_index(tpm_on(relay), srk, 0x01800000, AUTH_VALUE, writer, 3)

    assert relay.replaced
    assert "was replaced while it was defined" in caught.value.cause
