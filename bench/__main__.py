"""``python -m bench [--seconds S] [--rounds N]``: one run, one report."""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import cryptography

from bench.measure import Figure, measure
from bench.operations import COMPARED_WITH, KEYS, OPERATIONS
from keyiso import Key
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import stop_instance, supervisor_status
from keyiso.paths import client_instance


def main() -> int:
    options = _parse()
    with tempfile.TemporaryDirectory(prefix="keyiso-bench-") as home:
        os.environ["KEYISO_HOME"] = home
        started = [sys.executable, "-I", "-m", "keyiso.supervisor", "--detach"]
        subprocess.run(started, check=True, timeout=60)
        instance = client_instance(os.environ)
        try:
            for name, algorithm in KEYS.values():
                Key.create(name, algorithm).close()
            status = supervisor_status(instance, trusted_uids())
            pids = {entry.service: entry.pid for entry in status.processes}
            pids["supervisor"] = status.pid
            _print_machine()
            _print_idle_stack(pids)
            _print_figures(options, tuple(pids.values()))
        finally:
            stop_instance(instance, trusted_uids())
    return 0


def _print_machine() -> None:
    print(
        f"{os.cpu_count()} processors, Python {platform.python_version()},"
        f" cryptography {cryptography.__version__}, Linux {platform.release()}\n"
    )


def _print_idle_stack(pids: dict[str, int]) -> None:
    """Processes, memory, descriptors of a stack that holds nothing and serves nobody."""
    print(f"{'idle process':<22}{'RSS MiB':>9}{'private MiB':>13}{'descriptors':>13}{'threads':>9}")
    total = 0.0
    for service, pid in sorted(pids.items()):
        proc = Path(f"/proc/{pid}")
        private = _kib(proc / "smaps_rollup", "Private_Dirty:") + _kib(
            proc / "smaps_rollup", "Private_Clean:"
        )
        total += private
        print(
            f"{service:<22}{_kib(proc / 'status', 'VmRSS:') / 1024:>9.1f}{private / 1024:>13.1f}"
            f"{len(list((proc / 'fd').iterdir())):>13}{len(list((proc / 'task').iterdir())):>9}"
        )
    print(f"{'together':<22}{'':>9}{total / 1024:>13.1f}\n")


def _kib(path: Path, field: str) -> int:
    lines = path.read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))


def _print_figures(options: argparse.Namespace, services: tuple[int, ...]) -> None:
    """Every operation in every round, so that a change of the machine's speed hits them all."""
    for clients in options.clients:
        rounds: defaultdict[str, list[Figure]] = defaultdict(list)
        for _ in range(options.rounds):
            for name in OPERATIONS:
                rounds[name].append(measure(name, clients, options.seconds, services))
        print(
            f"{clients} client{'s' if clients > 1 else ''}, medians of {options.rounds} rounds of"
            f" {options.seconds:g} s"
        )
        print(
            f"{'':<24}{'per second':>12}{'(min to max)':>20}{'median µs':>11}{'p99 µs':>9}"
            f"{'CPU µs':>8}{'ratio':>7}"
        )
        for name, figures in rounds.items():
            _print_row(name, figures, rounds)
        print()


def _print_row(name: str, figures: list[Figure], rounds: dict[str, list[Figure]]) -> None:
    rates = [figure.per_second for figure in figures]
    ratio = ""
    if name in COMPARED_WITH:
        pairs = zip(figures, rounds[COMPARED_WITH[name]], strict=True)
        ratio = f"{statistics.median(a.per_second / b.per_second for a, b in pairs):.2f}"
    spread = f"{min(rates):,.0f} to {max(rates):,.0f}"
    print(
        f"{name:<24}{statistics.median(rates):>12,.0f}{spread:>20}"
        f"{statistics.median(figure.median_us for figure in figures):>11.1f}"
        f"{statistics.median(figure.p99_us for figure in figures):>9.1f}"
        f"{statistics.median(figure.cpu_us for figure in figures):>8.1f}{ratio:>7}"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
