"""Exit codes: one table, in the code and in the manual."""

import re
from pathlib import Path

import pytest

from keyiso.cli._exit import ExitCode, error_object, exit_code
from keyiso.errors import Hop, ncrypt_error
from keyiso.status import Status

MANUAL = Path(__file__).parents[2] / "docs" / "cli.md"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.NTE_BAD_KEYSET, 3),
        (Status.NTE_NOT_FOUND, 3),
        (Status.NTE_EXISTS, 4),
        (Status.NTE_BAD_SIGNATURE, 5),
        (Status.KEYISO_E_SERVICE_UNAVAILABLE, 6),
        (Status.NTE_VBS_UNAVAILABLE, 7),
        (Status.NTE_PERM, 8),
        (Status.KEYISO_E_PEER_REFUSED, 8),
        (Status.NTE_BAD_DATA, 1),
        (0x80001234, 1),
    ],
)
def test_the_exit_code_of_a_status(status: int, code: int) -> None:
    assert exit_code(ncrypt_error(status)) == code


def test_an_error_for_programs() -> None:
    error = ncrypt_error(
        Status.NTE_BAD_DATA, "the cause", "the action", (Hop("keyiso", 7, "OpenKey"),)
    )
    assert error_object(error) == {
        "status": "NTE_BAD_DATA",
        "code": "0x80090005",
        "message": "NTE_BAD_DATA (0x80090005): The data is not valid.",
        "cause": "the cause",
        "action": "the action",
        "chain": [{"service": "keyiso", "pid": 7, "function": "OpenKey"}],
        "exit_code": 1,
    }


def test_the_manual_lists_every_exit_code() -> None:
    listed = re.findall(r"^\| (\d+) \|", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code in listed] == [code.value for code in ExitCode]
