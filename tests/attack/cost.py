"""What arming costs: time at the start, locked memory, and processor time per signature."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from keyiso.trustlet.arming.process import status_of
from tests.attack.subject import Algorithm, Subject
from tests.attack.target import Kind

ROUNDS = 5
IN_FLIGHT = 32
SIGNATURES: Mapping[Algorithm, int] = {"RSA-2048": 320, "P-256": 3200}
"""In one round."""

STARTS = 5


def cost_table() -> Iterator[str]:
    """Rows of a Markdown table: bare and armed, measured in turns."""
    yield "| | bare | armed | ratio |"
    yield "|---|---|---|---|"
    with _started("bare") as bare, _started("armed") as armed:
        algorithm: Algorithm
        for algorithm, count in SIGNATURES.items():
            without, with_arming = _medians(bare, armed, algorithm, count)
            yield (
                f"| {algorithm}, processor time of the worker"
                f" | {without:.0f} µs | {with_arming:.0f} µs | {with_arming / without:.2f} |"
            )
        for name, field in (("memory in use", "VmRSS"), ("of it locked", "VmLck")):
            sizes = [int(status_of(one.worker, field).split()[0]) >> 10 for one in (bare, armed)]
            yield f"| {name} | {sizes[0]} MiB | {sizes[1]} MiB | |"
    times = [_arming_seconds() for _ in range(STARTS)]
    spread = f"{min(times):.2f} to {max(times):.2f}"
    yield f"| moving and guarding | | {median(times):.2f} s ({spread}) | |"


def _medians(bare: Subject, armed: Subject, name: Algorithm, count: int) -> tuple[float, float]:
    """Microseconds of processor time per signature."""
    rounds = [[_cpu_time(one, name, count) for one in (bare, armed)] for _ in range(ROUNDS)]
    without, with_arming = (median(times) / count * 1e6 for times in zip(*rounds, strict=True))
    return without, with_arming


@contextmanager
def _started(kind: Kind) -> Iterator[Subject]:
    with TemporaryDirectory() as directory, Subject(kind, Path(directory), heap=16) as subject:
        yield subject


def _arming_seconds() -> float:
    with _started("armed") as subject:
        return float(subject.findings[0].split()[2])


def _cpu_time(subject: Subject, algorithm: Algorithm, count: int) -> float:
    """Seconds of processor time that a worker takes for so many signatures."""
    before = _used(subject.worker)
    subject.sign(algorithm, count, IN_FLIGHT)
    return _used(subject.worker) - before


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
