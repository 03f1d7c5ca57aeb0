"""A hundred thousand stored keys: opening, listing and starting take what they take with few.

Ten thousand in the short run. Two instances run side by side, one with few keys and one with
many, and are asked in turn; what is compared are medians of one run, and bytes.
"""

import contextlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyiso.client.binding import Binding, bind_process
from keyiso.client.reference import KeyLocation
from keyiso.errors import NCryptError
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.names import encode_name
from tests.conformance.ready import wait_for_workers
from tests.instance import RunningInstance
from tests.scale.filling import fill, name_of, size_of
from tests.waiting import wait_until

FEW = 1_000
KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20
SEED = 20260


@dataclass
class Filled:
    """A running instance with keys in its store."""

    instance: RunningInstance
    count: int
    binding: Binding

    def open(self, number: int) -> None:
        name = encode_name(name_of(number))
        self.binding.open(KeyLocation(MS_KEY_STORAGE_PROVIDER, "user", name))

    def open_any(self, choice: random.Random) -> float:
        """Seconds to open one of them."""
        number = choice.randrange(self.count)
        start = time.perf_counter()
        self.open(number)
        return time.perf_counter() - start


@pytest.fixture(
    scope="module", params=[10_000, pytest.param(100_000, marks=pytest.mark.soak)], ids=str
)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Filled, Filled]]:
    """Few keys and many."""
    with contextlib.ExitStack() as stack:
        made = []
        for count in (FEW, request.param):
            running = RunningInstance(tmp_path_factory.mktemp(f"of-{count}") / "home")
            running.start()
            stack.callback(shutil.rmtree, running.instance.runtime, ignore_errors=True)
            stack.callback(running.end)
            wait_for_workers(running)  # which have made the root
            running.end()
            fill(running.instance, count)
            running.start()
            wait_for_workers(running)
            made.append(Filled(running, count, bind_process(running.environ)))
        yield made[0], made[1]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}")

    return say


def test_opening_by_name(filled: tuple[Filled, Filled], say: Callable[[str], None]) -> None:
    """Within 1.5 times the time. A machine that is busy makes single rounds worse, not better."""
    few, many = filled
    choice = random.Random(SEED)
    ratios, medians = [], []
    for _ in range(12):
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(100):
            times[0].append(few.open_any(choice))
            times[1].append(many.open_any(choice))
        medians.append([statistics.median(one) for one in times])
        ratios.append(medians[-1][1] / medians[-1][0])
    best = min(range(len(ratios)), key=ratios.__getitem__)
    of_few, of_many = (1e6 * median for median in medians[best])
    say(
        f"open by name, seed {SEED}: {of_few:.0f} µs of {few.count} keys, {of_many:.0f} µs of"
        f" {many.count} ({size_of(many.instance.instance.store):.0f} MiB);"
        f" ratios of medians {min(ratios):.2f} to {max(ratios):.2f}"
    )

    assert min(ratios) < 1.5


LIST = """
import sys, tracemalloc
from keyiso import Provider
with Provider() as provider:
    next(iter(provider.keys()))  # what is imported and bound by then is no memory of a listing
    tracemalloc.start()
    count = sum(1 for _ in provider.keys())
    print(count, tracemalloc.get_traced_memory()[1])
"""


def listed(filled: Filled) -> tuple[int, int, int]:
    """Names, bytes at the most in the client, and more at the most in the service."""
    pid = filled.instance.pid_of("keyiso")
    before = peak(pid, reset=True)
    done = subprocess.run(
        [sys.executable, "-c", LIST],
        env=filled.instance.environ,
        check=True,
        capture_output=True,
        text=True,
    )
    count, client = map(int, done.stdout.split())
    return count, client, peak(pid) - before


def peak(pid: int, *, reset: bool = False) -> int:
    """Bytes of memory that a process had at the most, since the peak was last set to what it has
    (proc(5), clear_refs).
    """
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * KIBIBYTE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see what memory a service had")
def test_listing_takes_constant_memory(
    filled: tuple[Filled, Filled], say: Callable[[str], None]
) -> None:
    """On both sides: a page of names at a time."""
    few, many = filled
    listed(few), listed(many)  # the first time fills SQLite's cache, which is bounded
    (count, few_client, few_service), (all_of_them, client, service) = listed(few), listed(many)
    say(
        f"listing {count} and {all_of_them} keys: the client took {few_client / KIBIBYTE:.0f} and"
        f" {client / KIBIBYTE:.0f} KiB at the most, the service {few_service / KIBIBYTE:.0f} and"
        f" {service / KIBIBYTE:.0f} KiB more than before"
    )

    assert (count, all_of_them) == (few.count, many.count)
    assert client < few_client + 256 * KIBIBYTE  # all names of ten thousand keys take a MiB
    assert service < few_service + 2 * MEBIBYTE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see what a service has read")
def test_a_start_reads_no_more(filled: tuple[Filled, Filled], say: Callable[[str], None]) -> None:
    """Until it has found its first key, also after a crash. Counted in bytes, by the kernel."""
    read = [bytes_read_by_a_start(one) for one in filled]
    few, many = filled
    say(
        f"a start reads {read[0] / MEBIBYTE:.2f} MiB with {few.count} keys and"
        f" {read[1] / MEBIBYTE:.2f} MiB with {many.count}, nearly all of it Python"
    )

    assert read[1] - read[0] < 256 * KIBIBYTE


def bytes_read_by_a_start(filled: Filled) -> int:
    instance = filled.instance
    before = instance.pid_of("keyiso")
    instance.kill("keyiso")
    wait_until(lambda: instance.pid_of("keyiso") not in (0, before), "another keyiso")
    filled.open(filled.count // 2)
    io = Path(f"/proc/{instance.pid_of('keyiso')}/io").read_text(encoding="ascii")
    return int(io.split("rchar: ")[1].split()[0])


def test_a_name_that_does_not_exist(filled: tuple[Filled, Filled]) -> None:
    """Is not looked for in all the others."""
    for one in filled:
        with pytest.raises(NCryptError, match="there is no key named"):
            one.open(one.count)
