"""Pages of the documentation whose commands are run, and print what stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.waiting import DEADLINE_SECONDS

_ENTRY_POINT = f"#!{sys.executable}\nimport sys\nfrom keyiso.cli import main\nsys.exit(main())\n"
_PYTHON = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
_VARIES = (
    (r"\d+\.\d+ m?s\b", "TIME"),
    (r"\[\d+\]", "[PID]"),
    (r"\bsoftware-\d+", "software-N"),
    (r"instance [0-9a-f]{8}", "instance ID"),
    (r"broken: .*?  ", "broken: WHY  "),
    (r"\d+ tries", "N tries"),
    (r"trace 00-\w+-\w+-\w+", "trace ID"),
)


def check_page(page: Path, directory: Path) -> int:
    """Run the commands of a page in a directory, one after the other: they print what stands there.
    Returns how many there are.
    """
    for name, text in (("keyiso", _ENTRY_POINT), ("python3", _PYTHON)):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    environ = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
    text = page.read_text(encoding="utf-8")
    shown = re.findall(r"^    \$ (.*)\n((?:    [^$].*\n)*)", text, re.MULTILINE)
    for command, expected in shown:
        ran = subprocess.run(
            ["sh", "-c", f"{{ {command}\n}} 2>&1"],
            cwd=directory,
            env=environ,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        indented = "".join(f"    {line}\n" for line in ran.stdout.splitlines())
        assert _steady(indented) == _steady(expected), command
    return len(shown)


def _steady(text: str) -> str:
    for pattern, name in _VARIES:
        text = re.sub(pattern, name, text)
    return text
