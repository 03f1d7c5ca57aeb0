"""``python -m bench``: one run, one report. ``--help`` lists what can be chosen."""

import argparse
import json
import sys
from collections import defaultdict

from bench.measure import Clients, Figure
from bench.operations import OPERATIONS
from bench.report import Report, Row
from bench.stack import running_stack


def main() -> int:
    options = _parse()
    with running_stack() as stack:
        services = tuple(process.pid for process in stack.processes)
        report = Report(stack.processes, stack.isolation, options.seconds)
        names = [name for name in OPERATIONS if "vbs" not in name or not stack.isolation.missing]
        for count in sorted(set(options.clients)):
            with Clients(count, services) as clients:
                for row in _rows(clients, count, names, options):
                    report.add(row)
                if count == max(options.clients):
                    baselines = {operation.baseline for operation in OPERATIONS.values()} - {""}
                    for row in _rows(clients, count, sorted(baselines), options):
                        report.again[row.operation.name] = row
    print(json.dumps(report.as_json(), indent=1) if options.json else report.as_text())
    return 0


def _rows(clients: Clients, count: int, names: list[str], options: argparse.Namespace) -> list[Row]:
    """Every operation in every round, so that a change of the machine's speed hits them all."""
    figures: defaultdict[str, list[Figure]] = defaultdict(list)
    for number in range(options.rounds):
        print(f"{count} clients, round {number + 1}", file=sys.stderr)
        for name in names:
            figures[name].append(clients.measure(name, options.seconds))
    return [Row(OPERATIONS[name], count, tuple(found)) for name, found in figures.items()]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5, help="of all measurements")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 8])
    parser.add_argument("--quick", action="store_true", help="one short round: does it work?")
    parser.add_argument("--json", action="store_true", help="print JSON with every round")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 0.1, 1
    return options


if __name__ == "__main__":
    sys.exit(main())
