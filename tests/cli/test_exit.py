"""Exit codes: one table, in the code and in the manual."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import keyiso
from keyiso.cli._advice import advice
from keyiso.cli._exit import ExitCode, error_object, exit_code
from keyiso.errors import Hop, ncrypt_error
from keyiso.status import Status

SOURCE = Path(keyiso.__file__).parent
CNG_WORDS = r"NCRYPT_|Key Usage|Export Policy"
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


def actions() -> Iterator[str]:
    """Every advice that keyiso gives in so many words, wherever it is raised."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 3:
                continue
            if isinstance(node.func, ast.Name) and node.func.id == "ncrypt_error":
                words = [
                    part.value
                    for part in ast.walk(node.args[2])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                yield "".join(words)


def test_no_advice_names_what_the_command_line_has_not() -> None:
    """The library says NCRYPT_OVERWRITE_KEY_FLAG, the command line --overwrite."""
    named = [action for action in actions() if re.search(CNG_WORDS, action)]
    assert len(named) >= 3
    for action in named:
        ours = advice(ncrypt_error(Status.NTE_FAIL, "the cause", action))
        assert not re.search(CNG_WORDS, ours)
        assert "--" in ours


def test_other_advice_stays_as_it_is() -> None:
    """Also under a status for which there is advice of the command line's own."""
    assert advice(ncrypt_error(Status.NTE_EXISTS, "the cause", "Try again.")) == "Try again."


def test_the_manual_lists_every_exit_code() -> None:
    listed = re.findall(r"^\| (\d+) \|", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code in listed] == [code.value for code in ExitCode]
