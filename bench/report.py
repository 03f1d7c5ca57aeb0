"""What was measured, as a text for people and as JSON."""

import os
import platform
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import cryptography

from bench.isolation import Isolation
from bench.measure import Figure
from bench.operations import EMPTY, Operation
from bench.stack import Process


@dataclass(frozen=True)
class Row:
    """An operation with so many clients, over all rounds."""

    operation: Operation
    clients: int
    figures: tuple[Figure, ...]

    def median(self, name: str) -> float:
        """The median of one value of the figures."""
        return float(statistics.median(getattr(figure, name) for figure in self.figures))

    @property
    def rates(self) -> tuple[float, ...]:
        return tuple(figure.per_second for figure in self.figures)


@dataclass
class Report:
    """One run."""

    processes: tuple[Process, ...]
    isolation: Isolation
    seconds: float
    rows: dict[tuple[str, int], Row] = field(default_factory=dict)
    again: dict[str, Row] = field(default_factory=dict)
    """The baselines once more, at the end of the run, with the most clients."""

    def add(self, row: Row) -> None:
        self.rows[row.operation.name, row.clients] = row

    @property
    def most(self) -> int:
        """The most clients."""
        return max(clients for _, clients in self.rows)

    def ratio(self, row: Row, clients: int = 0) -> float | None:
        """Of a row's rate to its baseline's, with as many or other clients, round by round."""
        if not row.operation.baseline:
            return None
        base = self.rows[row.operation.baseline, clients or row.clients]
        return statistics.median(a / b for a, b in zip(row.rates, base.rates, strict=True))

    def added_us(self, row: Row) -> float | None:
        """CPU beyond an empty call and the operation itself, for what is one call."""
        if not row.operation.baseline or row.operation.count > 1:
            return None
        base = self.rows[row.operation.baseline, row.clients].median("cpu_us")
        empty = self.rows[EMPTY, row.clients].median("cpu_us")
        return row.median("cpu_us") - empty - base

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": _machine(),
            "idle": [asdict(process) for process in self.processes],
            "isolation": asdict(self.isolation),
            "seconds": self.seconds,
            "rows": [
                {
                    "operation": row.operation.name,
                    "clients": row.clients,
                    "ratio": self.ratio(row),
                    "added_us": self.added_us(row),
                    "rounds": [asdict(figure) for figure in row.figures],
                }
                for row in self.rows.values()
            ],
            "baselines_at_the_end": {
                name: [asdict(figure) for figure in row.figures] for name, row in self.again.items()
            },
        }

    def as_text(self) -> str:
        return "\n".join((*self._idle(), *self._tables(), *self._ends(), *self._results()))

    def _idle(self) -> Iterator[str]:
        machine = _machine()
        yield (
            f"{machine['processors']} processors ({machine['model']}), Python {machine['python']},"
            f" cryptography {machine['cryptography']}, Linux {machine['linux']},"
            f" load {machine['load']:.1f}\n"
        )
        yield (
            f"{'idle process':<22}{'RSS MiB':>9}{'private MiB':>13}{'descriptors':>13}"
            f"{'threads':>9}"
        )
        for one in self.processes:
            yield (
                f"{one.service:<22}{one.resident_mib:>9.1f}{one.private_mib:>13.1f}"
                f"{one.descriptors:>13}{one.threads:>9}"
            )
        yield f"{'together':<22}{'':>9}{sum(one.private_mib for one in self.processes):>13.1f}"

    def _tables(self) -> Iterator[str]:
        for clients in dict.fromkeys(clients for _, clients in self.rows):
            rows = [row for row in self.rows.values() if row.clients == clients]
            yield (
                f"\n{clients} client{'s' if clients > 1 else ''}, medians of"
                f" {len(rows[0].figures)} rounds of {self.seconds:g} s\n"
                f"{'':<26}{'per second':>11}{'min to max':>20}{'median µs':>12}{'p99 µs':>12}"
                f"{'CPU µs':>9}{'ratio':>7}{'added':>8}"
            )
            yield from map(self._line, rows)

    def _line(self, row: Row) -> str:
        ratio, added = self.ratio(row), self.added_us(row)
        return (
            f"{row.operation.name:<26}{row.median('per_second'):>11,.0f}"
            f"{f'{min(row.rates):,.0f} to {max(row.rates):,.0f}':>20}"
            f"{row.median('median_us'):>12,.1f}{row.median('p99_us'):>12,.1f}"
            f"{row.median('cpu_us'):>9,.1f}"
            f"{'' if ratio is None else f'{ratio:.2f}':>7}"
            f"{'' if added is None else f'{added:.1f}':>8}"
        )

    def _ends(self) -> Iterator[str]:
        yield f"\nthe baselines once more, {self.most} clients: how far the machine's speed went"
        for name, row in self.again.items():
            now, before = row.median("per_second"), self.rows[name, self.most].median("per_second")
            yield f"{name:<26}{now:>11,.0f}{now / before - 1:>+9.1%}"

    def _results(self) -> Iterator[str]:
        yield from self.isolation.as_text()
        yield "\nwhat it comes to"
        for key in ("RSA-2048", "P-256"):
            software, vbs = (
                self.rows.get((f"{key} Key{level}", self.most)) for level in ("", ", vbs")
            )
            if software is not None and vbs is not None:
                pairs = zip(vbs.rates, software.rates, strict=True)
                of_software = statistics.median(a / b for a, b in pairs)
                yield f"{key} Key, vbs, {self.most} clients, of software: {of_software:.2f}"
        for name in ("RSA-2048 Key", "P-256 Key"):
            row = self.rows[name, self.most]
            yield f"{name}, {row.clients} clients, of in process: {self.ratio(row):.2f}"
            yield f"{name}, CPU beyond an empty call and the signature: {self.added_us(row):.1f} µs"
        for name in ("P-256 Key, lists", "RSA-2048 Key, lists"):
            ratio = self.ratio(self.rows[name, min(clients for _, clients in self.rows)], self.most)
            yield f"{name}, one client, of in process on all processors: {ratio:.2f}"


def _machine() -> dict[str, Any]:
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processors": os.cpu_count(),
        "model": models[0] if models else platform.machine(),
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "linux": platform.release(),
        "load": os.getloadavg()[0],
    }
