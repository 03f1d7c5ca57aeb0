"""Which operation met which kill, and how often while a request was in flight."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from tests.restart.operations import OPERATIONS


@dataclass
class Matrix:
    """Operation rows, victim columns."""

    operations: Sequence[str]
    columns: Sequence[str]
    hangs: Collection[str]
    """Columns of what is no kill: many operations wait for one process that is stopped."""
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_flight: Counter[tuple[str, str]] = field(default_factory=Counter)

    def count(self, operation: str, column: str, *, in_flight: bool) -> None:
        self.kills[operation, column] += 1
        self.in_flight[operation, column] += in_flight and not OPERATIONS[operation].local

    def empty(self, column: str) -> list[str]:
        """Operations that never met this victim."""
        return [one for one in self.operations if not self.kills[one, column]]

    def never_in_flight(self, column: str) -> list[str]:
        """Operations that this victim never left in the middle of a request."""
        asking = [one for one in self.operations if not OPERATIONS[one].local]
        return [one for one in asking if not self.in_flight[one, column]]

    @property
    def share_in_flight(self) -> float:
        """Of all kills, those that fell while a request was in flight."""
        kills, in_flight = (
            sum(count for (_, column), count in counts.items() if column not in self.hangs)
            for counts in (self.kills, self.in_flight)
        )
        return in_flight / max(1, kills)

    def __str__(self) -> str:
        """A cell is "kills/in flight"; an operation that asks nobody has nothing in flight."""
        width = max(len(one) for one in self.operations)
        widths = [max(len(column), 9) for column in self.columns]
        titles = "  ".join(
            column.rjust(size) for column, size in zip(self.columns, widths, strict=True)
        )
        lines = [f"{'':{width}}  {titles}"]
        for one in self.operations:
            cells = (self._cell(one, column) for column in self.columns)
            row = "  ".join(cell.rjust(size) for cell, size in zip(cells, widths, strict=True))
            lines.append(f"{one:{width}}  {row}")
        lines.append(
            f"kills (and hangs) that met an operation / its request in flight;"
            f" {self.share_in_flight:.0%} of the kills were in flight"
        )
        return "\n".join(lines)

    def _cell(self, operation: str, column: str) -> str:
        in_flight = "-" if OPERATIONS[operation].local else self.in_flight[operation, column]
        return f"{self.kills[operation, column]}/{in_flight}"
