"""One client process of a measurement: ``python -m bench.client OPERATION SECONDS``.

It prepares, says so, waits for a line, works, and prints its figures as JSON.
"""

import json
import resource
import sys
import time

from bench.operations import OPERATIONS

WARM_UP = 200


def main() -> None:
    name, seconds = sys.argv[1], float(sys.argv[2])
    operation = OPERATIONS[name]()
    for _ in range(WARM_UP):
        operation()
    print("ready", flush=True)
    sys.stdin.readline()
    latencies: list[int] = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    clock = time.perf_counter_ns
    started = last = clock()
    until = started + int(seconds * 1e9)
    while last < until:
        operation()
        now = clock()
        latencies.append(now - last)
        last = now
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    latencies.sort()
    print(
        json.dumps(
            {
                "operations": len(latencies),
                "seconds": (last - started) / 1e9,
                "cpu": cpu,
                "median": latencies[len(latencies) // 2] / 1e3,
                "p99": latencies[len(latencies) * 99 // 100] / 1e3,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
