"""``python -m tests.attack``, as root: the tables of docs/isolation.md, measured in one run.

The tables go to standard output as well.
"""

from tests.attack.cost import cost_table
from tests.attack.outcome import Row, measure
from tests.attack.subjects import Subjects
from tests.attack.suite import ATTACKS
from tests.attack.table import attack_table, write_between
from tests.attack.target import KINDS


def main() -> None:
    rows = list(_rows())
    for marker, table in (
        ("attacks", attack_table(ATTACKS, rows, KINDS)),
        ("cost", "\n".join(cost_table())),
    ):
        print(table)
        write_between(marker, table)


def _rows() -> list[Row]:
    rows = []
    with Subjects() as subjects:
        for kind in KINDS:
            for attack in ATTACKS:
                if kind in attack.kinds:
                    rows.append(
                        measure(attack, kind, subjects.new if attack.destructive else subjects.get)
                    )
                    print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
