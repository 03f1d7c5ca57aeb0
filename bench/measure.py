"""Running clients side by side, and what they and the services cost."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One measurement of one operation with so many clients."""

    per_second: float
    median_us: float
    p99_us: float
    cpu_us: float
    """CPU of the clients and of the services together, for one operation."""


def measure(operation: str, clients: int, seconds: float, services: tuple[int, ...]) -> Figure:
    """Have so many processes do one operation for so long, at the same time."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.client", operation, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(clients)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"a client of '{operation}' did not get ready")
        before = sum(map(_cpu_seconds, services))
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [
            json.loads(process.communicate(timeout=seconds + 60)[0]) for process in processes
        ]
        served = sum(map(_cpu_seconds, services)) - before
    finally:
        for process in processes:
            process.kill()
            process.wait()
    operations = sum(result["operations"] for result in results)
    return Figure(
        per_second=sum(result["operations"] / result["seconds"] for result in results),
        median_us=statistics.median(result["median"] for result in results),
        p99_us=max(result["p99"] for result in results),
        cpu_us=(sum(result["cpu"] for result in results) + served) / operations * 1e6,
    )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
