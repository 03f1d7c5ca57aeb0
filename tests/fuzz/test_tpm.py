"""Answers of a TPM, and what is stored of sealed objects: bad bytes have documented errors.

The good inputs are recorded from a TPM in software, each time.
"""

import hashlib
import hmac
import os
from collections.abc import Callable

import pytest

from keyiso.status import Status
from keyiso.tpm.capabilities import handles, lockout_state
from keyiso.tpm.command import open_answer
from keyiso.tpm.constants import TPM_CC, TPM_HT
from keyiso.tpm.general_commands import TPM2_GetRandom
from keyiso.tpm.key_derivation import kdf_a
from keyiso.tpm.latch import LATCH_PCR, read_pcrs
from keyiso.tpm.object_commands import CreatedPrimary
from keyiso.tpm.pin_sealed import decode_pin_sealed
from keyiso.tpm.public_area import TPMT_PUBLIC
from keyiso.tpm.salt import encrypted_salt
from keyiso.tpm.sealed_root import decode_sealed_root, unseal_root
from keyiso.tpm.session import Session
from keyiso.tpm.srk import enrol_srk
from keyiso.tpm.structure import MalformedError, Structure
from keyiso.tpm.templates import SRK_TEMPLATES
from keyiso.tpm.tpm import Tpm
from tests.fuzz.parser import INPUTS, SEED, Outcome, Parser, fuzz, has_a_good_input, statuses
from tests.tpm import swtpm as software_tpm
from tests.tpm.everything import Exchange, Made, Watched, use_everything, use_the_rest
from tests.tpm.relays import code_of
from tests.tpm.swtpm import Swtpm
from tests.unit.fake_clock import FakeClock

ANSWERS: frozenset[Outcome] = statuses(Status.KEYISO_E_TPM_ANSWER) | frozenset(
    range(0x80280000, 0x80281000)
)
"""A malformed answer, or a TPM_RC, which may be made up."""

FLOW = ANSWERS | statuses(
    Status.KEYISO_E_TPM_CHANGED, Status.KEYISO_E_TPM_LATCHED, Status.NTE_BAD_DATA
)

pytestmark = pytest.mark.fuzz

COST = 10
"""Unsealing takes as long as ten other inputs."""

STORED = statuses(Status.NTE_BAD_DATA, Status.NTE_BAD_VER)

UNSEALING = (
    TPM_CC.CreatePrimary,
    TPM_CC.StartAuthSession,
    TPM_CC.PolicyPCR,
    TPM_CC.Load,
    TPM_CC.Unseal,
)

WITH_SEED = pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")

Recording = tuple[list[Exchange], list[Made]]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """All that passes between keyiso and a TPM, with both kinds of SRK, and what is stored."""
    if software_tpm.missing:
        pytest.skip(software_tpm.SKIP_REASON)
    recording: Recording = ([], [])
    for algorithm in SRK_TEMPLATES:
        swtpm = Swtpm(tmp_path_factory.mktemp("tpm"))
        try:
            swtpm.boot()
            with swtpm.transport() as transport:
                tpm = Watched(transport)
                recording[1].append(use_everything(tpm, algorithm))
                use_the_rest(tpm)
        finally:
            swtpm.power_off()
        recording[0].extend(tpm.exchanges)
    return recording


def checked(parser: Parser) -> None:
    has_a_good_input(parser)
    fuzz(parser)


def reframed(data: bytes) -> bytes:
    """An answer with the right size, so that what is behind the size gets looked at."""
    return data[:2] + len(data).to_bytes(4) + data[6:]


ANSWERED = [code for code in TPM_CC if code is not TPM_CC.Startup]
"""Startup's answer is empty, as Shutdown's is, and comes before the recording."""


@WITH_SEED
@pytest.mark.parametrize("code", ANSWERED, ids=lambda code: code.name)
def test_a_bad_answer_has_a_documented_error(recording: Recording, code: TPM_CC, seed: int) -> None:
    exchanges = [one for one in recording[0] if one.command.code == code]
    command = exchanges[0].command

    def parse(data: bytes) -> None:
        for frame in (reframed(data), data):
            answer = open_answer(command, frame)
            command.answered(answer, answer.parameters)

    checked(Parser(command.title, parse, [one.answer for one in exchanges], ANSWERS))


@WITH_SEED
def test_a_bad_answer_in_a_session_is_never_taken(seed: int) -> None:
    """The HMAC of the good one is computed here, by the specification."""
    salt, nonce_caller, nonce_tpm, newer = b"s" * 32, b"c" * 32, b"t" * 32, b"n" * 32
    session = Session(0x02000000, salt, nonce_caller, nonce_tpm, lambda size: b"r" * size)
    use = session.authorize()
    use.request(TPM2_GetRandom(4))
    parameters, attributes = b"\0\x04abcd", b"\xc1"
    message = hashlib.sha256(bytes(4) + TPM_CC.GetRandom.to_bytes(4) + parameters).digest()
    message += newer + b"r" * 32 + attributes
    key = kdf_a(salt, b"ATH", nonce_tpm, nonce_caller)
    proof = hmac.digest(key, message, "sha256")
    body = len(parameters).to_bytes(4) + parameters
    body += b"\0\x20" + newer + attributes + b"\0\x20" + proof
    good = b"\x80\x02" + (10 + len(body)).to_bytes(4) + bytes(4) + body

    def parse(data: bytes) -> None:
        use.result(TPM2_GetRandom(4), reframed(data))
        assert reframed(data) == good

    checked(Parser("an answer in a session", parse, [good], ANSWERS))


@WITH_SEED
def test_a_bad_answer_anywhere_gives_no_root(recording: Recording, seed: int) -> None:
    """A TPM that only repeats what one said before, with changes."""
    root = recording[1][0].roots[0]
    first: dict[int, bytes] = {}
    for one in recording[0]:
        first.setdefault(one.command.code, one.answer)

    class Repeating:
        def __init__(self, changed: TPM_CC, data: bytes) -> None:
            self._answers = first | {changed: reframed(data)}

        def exchange(self, command: bytes) -> bytes:
            return self._answers[code_of(command)]

    for code in UNSEALING:

        def parse(data: bytes, code: TPM_CC = code) -> None:
            unseal_root(Tpm(Repeating(code, data), FakeClock()), root)
            raise AssertionError("a root came out")

        parser = Parser(f"unseal_root, {code.name}", parse, [first[code]], FLOW)
        fuzz(parser, max(1, INPUTS // COST))


@WITH_SEED
@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (lambda tpm: handles(tpm, TPM_HT.NV_INDEX), TPM_CC.GetCapability),
        (lockout_state, TPM_CC.GetCapability),
        (lambda tpm: read_pcrs(tpm, [LATCH_PCR]), TPM_CC.PCR_Read),
        (enrol_srk, TPM_CC.CreatePrimary),
    ],
    ids=["handles", "lockout_state", "read_pcrs", "enrol_srk"],
)
def test_a_bad_answer_that_nothing_proves_has_a_documented_error(
    recording: Recording, operation: Callable[[Tpm], object], code: TPM_CC, seed: int
) -> None:
    corpus = [one.answer for one in recording[0] if one.command.code == code]
    flushed = next(one.answer for one in recording[0] if one.command.code == TPM_CC.FlushContext)

    class Answering:
        def __init__(self, data: bytes) -> None:
            self._data = reframed(data)

        def exchange(self, command: bytes) -> bytes:
            return self._data if code_of(command) is code else flushed

    outcomes = ANSWERS | statuses(Status.NTE_NOT_SUPPORTED)

    def parse(data: bytes) -> None:
        operation(Tpm(Answering(data), FakeClock()))

    fuzz(Parser(code.name, parse, corpus, outcomes))


@WITH_SEED
@pytest.mark.parametrize("decode", [decode_sealed_root, decode_pin_sealed])
def test_bad_bytes_in_a_file_have_a_documented_error(
    recording: Recording, decode: Callable[[bytes], Structure], seed: int
) -> None:
    """And what is taken is what its bytes say."""
    corpus = [
        one.encode()
        for made in recording[1]
        for one in (made.roots if decode is decode_sealed_root else [made.under_pin])
    ]

    def parse(data: bytes) -> None:
        assert decode(data).encode() == data

    checked(Parser(decode.__name__, parse, corpus, STORED))


@WITH_SEED
def test_a_session_is_salted_to_a_key_or_not_at_all(recording: Recording, seed: int) -> None:
    results = [one.result for one in recording[0]]
    corpus = [one.out_public.encode() for one in results if isinstance(one, CreatedPrimary)]

    def parse(data: bytes) -> None:
        encrypted_salt(TPMT_PUBLIC.decode(data), os.urandom)

    checked(Parser("encrypted_salt", parse, corpus, frozenset({MalformedError})))
