"""Client processes that work side by side, and what they and the services cost."""

import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyiso.closeable import Closeable


@dataclass(frozen=True)
class Figure:
    """One measurement of one operation."""

    per_second: float
    median_us: float
    """Of a call. The median of the clients' medians."""
    p99_us: float
    """Of the client whose calls took longest."""
    cpu_us: float
    """CPU of the clients and of the services together, for one operation."""


class Clients(Closeable):
    """So many client processes. The services' CPU is counted by their pids."""

    def __init__(self, count: int, services: tuple[int, ...]) -> None:
        self._services = services
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.client"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(count)
        ]

    def measure(self, operation: str, seconds: float) -> Figure:
        """Have all of them do one operation for so long, at the same time."""
        self._ask(operation)
        before = sum(map(_cpu_seconds, self._services))
        results = self._ask(str(seconds))
        served = sum(map(_cpu_seconds, self._services)) - before
        operations = sum(result["operations"] for result in results)
        return Figure(
            per_second=sum(result["operations"] / result["seconds"] for result in results),
            median_us=statistics.median(result["median"] for result in results),
            p99_us=max(result["p99"] for result in results),
            cpu_us=(sum(result["cpu"] for result in results) + served) / operations * 1e6,
        )

    def _ask(self, line: str) -> list[Any]:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()
        return [self._answer(process) for process in self._processes]

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        answer = process.stdout.readline()
        if not answer:
            raise RuntimeError("a client has ended")
        return json.loads(answer)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


def _cpu_seconds(pid: int) -> float:
    """What all threads of a process have run, to the nanosecond where ticks are too coarse."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9
