"""The documentation's tables are what the code says."""

import subprocess
import sys
from pathlib import Path

from tests.attack.suite import ATTACKS
from tests.attack.table import PAGE, rows_in

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_architecture_are_drawn_from_the_code() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "docs" / "draw.py", "--check"], capture_output=True, text=True
    )

    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_table_of_attacks_is_whole_and_says_what_the_level_promises() -> None:
    """`tests/attack` compares it with what is measured, which takes root and some minutes."""
    rows = {(row.attack, row.level): row for row in rows_in(PAGE.read_text("utf-8"), "attacks")}

    assert set(rows) == {(attack.name, kind) for attack in ATTACKS for kind in attack.kinds}
    for attack in ATTACKS:
        for kind in attack.kinds:
            row = rows[attack.name, kind]
            assert row.skipped or attack.must(kind) in ("", row.outcome), row
