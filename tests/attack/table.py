"""The tables of docs/isolation.md: drawn from what was measured, and read again."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.attack.outcome import Attack, Row

PAGE = Path(__file__).parents[2] / "docs" / "isolation.md"


def attack_table(attacks: Iterable[Attack], rows: Iterable[Row], levels: Sequence[str]) -> str:
    """One line for each attack, one column for each level, and what was seen at the last one."""
    measured = {(row.attack, row.level): row for row in rows}
    lines = [
        f"| attack by root | {' | '.join(levels)} | what was seen (of the last that was tried) |",
        f"|---|{'---|' * len(levels)}---|",
    ]
    for attack in attacks:
        found = [measured.get((attack.name, level)) for level in levels]
        outcomes = [row.outcome if row else "" for row in found]
        evidence = next((row.evidence for row in reversed(found) if row and row.evidence), "")
        lines.append(_line(attack.name, *outcomes, evidence))
    return "\n".join(lines)


def rows_in(page: str, marker: str) -> Iterator[Row]:
    """The rows of an attack table in a page."""
    between = _between(marker).search(page)
    assert between, f"no place for {marker}"
    lines = between[2].strip().splitlines()
    if not lines:
        return
    _, *levels, _ = _cells(lines[0])
    for line in lines[2:]:
        attack, *outcomes, evidence = _cells(line)
        for level, outcome in zip(levels, outcomes, strict=True):
            if outcome:
                yield Row(attack, level, outcome, evidence)


def write_between(marker: str, table: str) -> None:
    """Put a table into the page, where a comment with that word at its beginning is."""
    page = PAGE.read_text(encoding="utf-8")
    replaced, count = _between(marker).subn(lambda found: f"{found[1]}{table}\n{found[3]}", page)
    assert count == 1, f"{count} places for {marker} in {PAGE}"
    PAGE.write_text(replaced, encoding="utf-8")


def _between(marker: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {marker}: [^\n]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
