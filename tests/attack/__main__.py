"""``python -m tests.attack``, as root: the tables of docs/isolation.md, measured in one run.

The tables go to standard output as well.
"""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.attack.cost import cost_table
from tests.attack.outcome import Row, measure
from tests.attack.subject import KINDS, Kind, Subject
from tests.attack.suite import ATTACKS
from tests.attack.table import attack_table, write_between


def main() -> None:
    rows = list(_rows())
    for marker, table in (
        ("attacks", attack_table(ATTACKS, rows, KINDS)),
        ("cost", "\n".join(cost_table())),
    ):
        print(table)
        write_between(marker, table)


def _rows() -> list[Row]:
    """Every attack on a subject of its own."""
    rows = []
    for attack in ATTACKS:
        for kind in KINDS:
            if kind == "bare" and not attack.on_bare:
                continue
            with ExitStack() as stack:

                def start(kind: Kind, stack: ExitStack = stack) -> Subject:
                    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    return stack.enter_context(Subject(kind, directory))

                rows.append(measure(attack, kind, start))
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
