"""Running commands: what a TPM that is not ready, broken or silent is answered with."""

from collections.abc import Sequence

import pytest

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.command import Header
from keyiso.tpm.general_commands import TPM2_GetRandom
from keyiso.tpm.tpm import LONGEST_RETRY_SECONDS, Tpm
from tests.conformance.statuses import fails
from tests.unit.fake_clock import FakeClock

RANDOM = bytes.fromhex("8001 0000000e 00000000 0002 abcd")


class Scripted:
    """A transport whose answers are known before. The last one is given for ever."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers = list(answers)
        self.commands: list[bytes] = []

    def exchange(self, command: bytes) -> bytes:
        self.commands.append(command)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def refusal(code: int) -> bytes:
    return Header(0x8001, 10, code).encode()


@pytest.mark.parametrize(
    "code", [0x922, 0x908, 0x90A, 0x920], ids=["RETRY", "YIELDED", "TESTING", "NV_RATE"]
)
def test_a_command_that_the_tpm_was_not_ready_for_is_sent_again(code: int) -> None:
    """The same bytes, after pauses that become longer."""
    transport, clock = Scripted([refusal(code)] * 4 + [RANDOM]), FakeClock()

    assert Tpm(transport, clock).run(TPM2_GetRandom(2)).random_bytes == b"\xab\xcd"
    assert len(transport.commands) == 5
    assert len(set(transport.commands)) == 1
    assert clock.slept == sorted(clock.slept)
    assert len(set(clock.slept)) == 4


def test_a_tpm_that_never_gets_ready_is_given_up() -> None:
    transport, clock = Scripted([refusal(0x922)]), FakeClock()
    with fails(Status.TPM_20_E_RETRY):
        Tpm(transport, clock).run(TPM2_GetRandom(2))

    assert (
        limits.TPM_RETRY_SECONDS - LONGEST_RETRY_SECONDS
        < sum(clock.slept)
        <= limits.TPM_RETRY_SECONDS
    )


@pytest.mark.parametrize("code", [0x101, 0x909, 0x921, 0x98E, 0x923])
def test_another_refusal_is_final(code: int) -> None:
    """0x909 too, which is TPM_RC_CANCELED."""
    transport, clock = Scripted([refusal(code)]), FakeClock()
    with pytest.raises(NCryptError):
        Tpm(transport, clock).run(TPM2_GetRandom(2))

    assert (len(transport.commands), clock.slept) == (1, [])


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "it ends"),
        (RANDOM[:9], "it ends"),
        (RANDOM[:-1], "it has 13 bytes and says 14"),
        (RANDOM + b"\0", "it has 15 bytes and says 14"),
        (b"\x00\xc4" + RANDOM[2:], "it has the tag 0xc4"),
        (bytes.fromhex("8001 0000000f 00000000 0002 abcdef"), "it has 1 bytes too many"),
        (bytes.fromhex("8001 0000000d 00000000 0002 ab"), "it ends 1 bytes too early"),
        (bytes.fromhex("8001 0000000e 00000101 0002 abcd"), "it has 4 bytes too many"),
        (bytes.fromhex("8001 0000000c 00000000 0041"), "TPM_DIGEST_BYTES is 64"),
        (bytes(limits.TPM_MESSAGE_BYTES + 1), "TPM_MESSAGE_BYTES is 4096"),
    ],
)
def test_a_malformed_answer_is_an_error_that_says_why(answer: bytes, cause: str) -> None:
    with fails(Status.KEYISO_E_TPM_ANSWER) as caught:
        Tpm(Scripted([answer]), FakeClock()).run(TPM2_GetRandom(2))

    assert cause in caught.value.cause


def test_the_first_error_is_the_one_that_is_reported() -> None:
    """Not that of the flush which did not work either."""
    tpm = Tpm(Scripted([refusal(0x101)]), FakeClock())
    with fails(Status.NTE_FAIL), tpm.flushing(0x80000000):
        raise ncrypt_error(Status.NTE_FAIL)


def test_a_flush_that_fails_is_an_error() -> None:
    tpm = Tpm(Scripted([refusal(0x101)]), FakeClock())
    with fails(Status.TPM_20_E_FAILURE), tpm.flushing(0x80000000):
        pass
