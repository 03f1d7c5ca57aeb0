"""The documentation's tables are what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_architecture_are_drawn_from_the_code() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "draw.py", "--check"], capture_output=True, text=True
    )

    assert (checked.returncode, checked.stdout) == (0, "")
