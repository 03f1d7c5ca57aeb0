"""The programs of docs/tutorial.md do what the page shows, in processes of their own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import Key
from tests.instance import DEADLINE_SECONDS, RunningInstance, in_use
from tests.roots.machine import EnrolledMachine

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHOWN = ["\n".join(re.findall("^ {4}(.*)$", block, re.MULTILINE)) for block in PAGE.split("\n\n")]
"""What the page shows as printed, or to be typed: its indented blocks; empty for all others."""

MAKE, USE, DELETE = PROGRAMS
PER_BOOT = MAKE.replace(
    "import NCRYPT_REQUIRE_VBS_FLAG",
    "import NCRYPT_REQUIRE_VBS_FLAG, NCRYPT_USE_PER_BOOT_KEY_FLAG",
).replace(", NCRYPT_REQUIRE_VBS_FLAG", ", NCRYPT_REQUIRE_VBS_FLAG | NCRYPT_USE_PER_BOOT_KEY_FLAG")
EPHEMERAL = MAKE.replace('"MyKeyName"', "None")


@pytest.fixture
def enrolled(machine: EnrolledMachine) -> Iterator[RunningInstance]:
    """An instance on a machine whose TPM is enrolled."""
    machine.enrol()
    try:
        with in_use(RunningInstance(machine.directory / "home")) as running:
            yield running
    finally:
        machine.tpm.flush_all()


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE_SECONDS
    )


def shows(program: str) -> str:
    """What the page has directly below a program."""
    below = PAGE.split(program)[1].split("\n\n")[1]
    assert below.startswith("    ")
    return re.sub("^ {4}", "", below, flags=re.MULTILINE) + "\n"


def check_uses() -> None:
    """The second and the third program, on the key that the first one made."""
    for program in (USE, DELETE):
        ended = run(program)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, shows(program), "")
    assert not Key.exists("MyKeyName")


def test_the_programs_print_what_the_page_shows(enrolled: RunningInstance) -> None:
    made = run(MAKE)
    assert (made.returncode, made.stdout, made.stderr) == (0, shows(MAKE), "")
    with Key.open("MyKeyName") as key:
        assert (key.algorithm, key.length) == ("RSA", 2048)
        assert (key.protection.level, key.protection.lifetime) == ("vbs", "persisted")

    again = run(MAKE)
    assert again.returncode == 1
    assert again.stderr.startswith("NTE_EXISTS")
    assert again.stderr.rstrip("\n") in SHOWN

    check_uses()


def test_without_a_tpm_the_page_shows_the_error_and_two_ways_out(
    vbs_instance: RunningInstance,
) -> None:
    refused = run(MAKE)
    assert refused.returncode == 1
    assert refused.stderr.startswith("NTE_VBS_UNAVAILABLE")
    assert refused.stderr.rstrip("\n") in SHOWN
    assert not Key.exists("MyKeyName")

    assert MAKE not in (PER_BOOT, EPHEMERAL)
    assert run(EPHEMERAL).returncode == 0
    assert not Key.exists("MyKeyName")
    made = run(PER_BOOT)
    assert (made.returncode, made.stderr) == (0, "")
    check_uses()


def test_where_nothing_is_armed_all_three_are_refused(tmp_path: Path) -> None:
    with in_use(RunningInstance(tmp_path / "off", ("--vbs=off",))):
        for program in (MAKE, PER_BOOT, EPHEMERAL):
            refused = run(program)
            assert refused.returncode == 1
            assert refused.stderr.startswith("NTE_VBS_UNAVAILABLE")
            assert "Cause: " in refused.stderr
        assert not Key.exists("MyKeyName")
