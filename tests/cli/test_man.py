"""The manual pages: one for each command, which real formatters take without a warning."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.cli._app import app
from keyiso.cli._exit import ExitCode
from tests.cli.test_help import every_command

ROOT = Path(__file__).parents[2]
COMMANDS = ["", *every_command(app)]
FORMATTERS = {
    "groff": ("groff", "-man", "-ww", "-z", "-Tutf8"),
    "mandoc": ("mandoc", "-Tlint", "-Wwarning"),
    "man": ("man", "--warnings=w", "-Tutf8", "-l"),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("man"))


def written(directory: Path) -> Path:
    subprocess.run(
        [sys.executable, ROOT / "docs" / "man.py", directory],
        env={**os.environ, "SOURCE_DATE_EPOCH": "86400"},
        check=True,
    )
    return directory


def title(path: str) -> str:
    return "-".join(["keyiso", *path.split()])


def test_every_command_has_its_page(pages: Path) -> None:
    assert {page.name for page in pages.iterdir()} == {f"{title(path)}.1" for path in COMMANDS}


def test_the_same_commands_give_the_same_pages(pages: Path, tmp_path: Path) -> None:
    again = written(tmp_path / "new" / "directory")
    for page in pages.iterdir():
        assert (again / page.name).read_bytes() == page.read_bytes()


@pytest.mark.parametrize("formatter", ["groff", *filter(shutil.which, ("mandoc", "man"))])
def test_no_formatter_warns(pages: Path, formatter: str) -> None:
    if shutil.which(formatter) is None:
        pytest.skip(f"{formatter} is not installed")
    for page in sorted(pages.iterdir()):
        ended = subprocess.run(
            [*FORMATTERS[formatter], page], capture_output=True, text=True, check=True
        )
        assert ended.stderr == ""
        if formatter == "mandoc":  # which has its warnings on standard output
            assert ended.stdout == ""


@pytest.mark.parametrize("path", COMMANDS)
def test_what_a_page_says(pages: Path, path: str) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    text = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", pages / f"{title(path)}.1"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    sections = dict(parts(text))
    assert sections["NAME"][0].startswith(f"{title(path)} - ")
    assert sections["SYNOPSIS"][0].startswith(f"keyiso {path}".strip())
    assert sections["DESCRIPTION"]
    assert any(line.startswith("-h, --help") for line in sections["OPTIONS"])
    codes = [line.split()[0] for line in sections["EXIT STATUS"]]
    assert {str(int(code)) for code in ExitCode} <= set(codes)
    assert "KEYISO_HOME" in " ".join(sections["ENVIRONMENT"])
    assert "/var/lib/keyiso" in " ".join(sections["FILES"])
    others = " ".join(sections["SEE ALSO"]).replace(",", "").split()
    pages_meant = [other.removesuffix("(1)") for other in others if other != "openssl(1)"]
    assert all((pages / f"{other}.1").exists() for other in pages_meant)


def parts(text: str) -> Iterator[tuple[str, list[str]]]:
    """The sections of a page, with the lines of each."""
    name, lines = "", list[str]()
    for line in text.splitlines():
        if line and not line.startswith(" "):
            yield name, lines
            name, lines = line, []
        elif line:
            lines.append(line.strip())
    yield name, lines


def test_text_that_looks_like_roff(pages: Path) -> None:
    """Quotes, backslashes and dots of a help text come out as they are."""
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    page = pages / "keyiso-completion.1"
    text = subprocess.run(
        ["groff", "-man", "-Tascii", "-P-cbou", page], check=True, capture_output=True, text=True
    ).stdout
    assert "bash: echo 'source <(keyiso completion bash)' >> ~/.bashrc\n" in text


def test_wrong_usage() -> None:
    ended = subprocess.run(
        [sys.executable, ROOT / "docs" / "man.py"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2 and "usage" in ended.stderr
