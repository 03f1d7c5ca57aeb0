"""A client process of a measurement: ``python -m bench.client``.

It reads lines from its standard input and answers each with a line of JSON. The name of an
operation: it is prepared and warmed up. A number: it is done for so many seconds.
"""

import json
import resource
import sys
import time

from bench.operations import OPERATIONS, Do, Operation

WARM_UP_CALLS = 200
WARM_UP_SECONDS = 0.1


def main() -> None:
    prepared: dict[str, Do] = {}
    name = ""
    for line in sys.stdin:
        answer: object = "ready"
        if line.strip() in OPERATIONS:
            name = line.strip()
            if name not in prepared:
                prepared[name] = OPERATIONS[name].prepare()
            _warm_up(prepared[name])
        else:
            answer = _measure(OPERATIONS[name], prepared[name], float(line))
        print(json.dumps(answer), flush=True)


def _warm_up(do: Do) -> None:
    until = time.perf_counter() + WARM_UP_SECONDS
    for _ in range(WARM_UP_CALLS):
        do()
        if time.perf_counter() > until:
            return


def _measure(operation: Operation, do: Do, seconds: float) -> dict[str, float]:
    latencies: list[int] = []
    before = _cpu_seconds()
    clock = time.perf_counter_ns
    started = last = clock()
    until = started + int(seconds * 1e9)
    while last < until:
        do()
        now = clock()
        latencies.append(now - last)
        last = now
    cpu = _cpu_seconds() - before
    latencies.sort()
    return {
        "operations": len(latencies) * operation.count,
        "seconds": (last - started) / 1e9,
        "cpu": cpu,
        "median": latencies[len(latencies) // 2] / 1e3,
        "p99": latencies[len(latencies) * 99 // 100] / 1e3,
    }


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
