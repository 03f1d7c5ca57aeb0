"""docs/cng-differences.md names a test for each difference, and each of them exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cng-differences.md"
SHORT_NAMES = {
    "two_creators": "tests/restart/test_two_creators.py",
    **{name: f"tests/vbs/test_{name}.py" for name in ("vbs_keys", "stored_keys", "without_vbs")},
}


def file_of(short_name: str) -> Path:
    """The file that the page's short name stands for."""
    if short_name in SHORT_NAMES:
        return ROOT / SHORT_NAMES[short_name]
    candidates = [
        ROOT / "tests" / "conformance" / f"test_{prefix}{short_name}.py"
        for prefix in ("ncrypt_", "")
    ]
    return next((path for path in candidates if path.exists()), candidates[0])


def named_tests() -> list[tuple[str, str]]:
    found = re.findall(r"`(\w+)::(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    return sorted({(file, test) for file, test in found})


@pytest.mark.parametrize(("short_name", "test"), named_tests())
def test_a_test_that_the_page_names_exists(short_name: str, test: str) -> None:
    code = file_of(short_name).read_text(encoding="utf-8")

    assert re.search(rf"^def {test}\(", code, re.MULTILINE)


def test_every_difference_names_a_test() -> None:
    """A row of the page without one is a claim that nothing holds."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    rows = [line for line in rows if not line.startswith(("| |", "| status |"))]

    assert len(rows) > 50
    assert [row for row in rows if "::" not in row and "`tests/" not in row] == []
