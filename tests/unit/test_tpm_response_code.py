"""What a TPM's refusal is called, and which status it is."""

import shutil
import subprocess

import pytest

from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.tpm.response_code import ResponseCode, response_error

NEEDS_TOOLS = pytest.mark.skipif(
    shutil.which("tpm2_rc_decode") is None, reason="tpm2_rc_decode is not installed (tpm2-tools)"
)
BASES = [int(one) & 0xFFF for one in Status if one.name.startswith("TPM_20_E_")]


@pytest.mark.parametrize(
    ("code", "text", "status"),
    [
        (0x99D, "TPM_RC_POLICY_FAIL (0x99d) for session 1", Status.TPM_20_E_POLICY_FAIL),
        (0x1DF, "TPM_RC_INTEGRITY (0x1df) for parameter 1", Status.TPM_20_E_INTEGRITY),
        (0xFC4, "TPM_RC_VALUE (0xfc4) for parameter 15", Status.TPM_20_E_VALUE),
        (0x18B, "TPM_RC_HANDLE (0x18b) for handle 1", Status.TPM_20_E_HANDLE),
        (0x98E, "TPM_RC_AUTH_FAIL (0x98e) for session 1", Status.TPM_20_E_AUTH_FAIL),
        (0x084, "TPM_RC_VALUE (0x84)", Status.TPM_20_E_VALUE),
        (0x101, "TPM_RC_FAILURE (0x101)", Status.TPM_20_E_FAILURE),
        (0x921, "TPM_RC_LOCKOUT (0x921)", Status.TPM_20_E_LOCKOUT),
        (0x922, "TPM_RC_RETRY (0x922)", Status.TPM_20_E_RETRY),
        (0x910, "TPM_RC_REFERENCE_H0 (0x910)", 0x80280910),
        (0x91E, "TPM_RC_REFERENCE_S6 (0x91e)", 0x8028091E),
        (0x917, "0x80280917 (0x917)", 0x80280917),
        (0x501, "a code of the TPM's vendor, 0x501 (0x501)", 0x80280501),
        (
            0xB0143,
            "TPM_RC_COMMAND_CODE (0xb0143) by the kernel's resource manager",
            Status.TPM_20_E_COMMAND_CODE,
        ),
        (0xA0101, "TPM_RC_FAILURE (0xa0101) by layer 10", Status.TPM_20_E_FAILURE),
        (0x01E, "0x8028001E (0x1e)", 0x8028001E),
        (0xFFFFFFFF, "0x802800BF (0xffffffff) for parameter 15 by layer 255", 0x802800BF),
    ],
)
def test_a_code_is_taken_apart(code: int, text: str, status: int) -> None:
    assert str(ResponseCode(code)) == text
    assert ResponseCode(code).status == status


def test_an_error_says_what_was_asked_and_what_to_do() -> None:
    error = response_error("TPM2_Load", 0x902)

    assert isinstance(error, NCryptError)
    assert error.status == Status.TPM_20_E_OBJECT_MEMORY
    assert error.cause == "TPM2_Load was answered with TPM_RC_OBJECT_MEMORY (0x902)"
    assert "/dev/tpmrm0" in error.action


def test_every_code_has_an_error() -> None:
    for code in range(0x1000):
        assert str(response_error("TPM2_Load", code)), code


def by_tools(code: int) -> str:
    """What tpm2-tools say of a code."""
    done = subprocess.run(
        ["tpm2_rc_decode", hex(code)], check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout.strip()


@NEEDS_TOOLS
def test_what_has_a_name_is_known_to_tpm2_tools() -> None:
    """They print the number of a code that they do not know."""
    unknown = {base for base in BASES if by_tools(base).endswith((f"0x{base:X}", "(null)"))}

    assert unknown == {0x123}  # ECC_CURVE, which is in winerror.h alone


@NEEDS_TOOLS
@pytest.mark.parametrize("code", [0x99D, 0xA8E, 0x1DF, 0x5DB, 0x7C4, 0x18B, 0x28B])
def test_the_subject_of_a_code_is_the_one_of_tpm2_tools(code: int) -> None:
    kind, number = ResponseCode(code).subject.split()

    assert by_tools(code).startswith(f"tpm:{kind}({number}):")
