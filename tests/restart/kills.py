"""Killing services at random instants while clients work, and counting what the clients saw."""

import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from keyiso import Key, NCryptError, Provider
from keyiso.crypto.key_header import Level
from keyiso.wire.supervision import ProcessStatus, SupervisorStatus
from tests.instance import DEADLINE_SECONDS, RunningInstance, is_alive
from tests.restart.keyring import Keyring
from tests.restart.load_client import SHARED_KEYS
from tests.restart.scoreboard import Doing, Scoreboard

CLIENTS = 4
VICTIMS: Mapping[Level, Mapping[str, int]] = {
    "software": {
        "keyiso": 35,
        "one worker": 30,
        "generator": 5,
        "keyiso and all workers": 15,
        "supervisor": 15,
    },
    # Of the pairs one is left alive: the root of the boot is in their memory.
    "vbs": {"keyiso": 30, "one worker": 40, "generator": 15, "keyiso and one worker": 15},
}


@dataclass
class Outcome:
    """What happened in one run."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    """Kills that hit a process while a client waited for an answer of its kind."""
    operations: int = 0
    failures: list[str] = field(default_factory=list)
    wrong_keys: int = 0
    lost_keys: set[str] = field(default_factory=set)
    doubled_keys: set[str] = field(default_factory=set)
    replaced_keys: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        kills = sum(self.kills.values())
        return (
            f"seed {self.seed}: {kills} kills {dict(self.kills)}, {self.in_flight} of them"
            f" ({self.in_flight / max(1, kills):.0%}) with a request in flight;"
            f" {self.operations} operations, {len(self.failures)} failed,"
            f" {self.wrong_keys} with another key; keys: {len(self.lost_keys)} lost,"
            f" {len(self.doubled_keys)} doubled, {len(self.replaced_keys)} not the last one"
        )


def run_kills(
    instance: RunningInstance,
    path: Path,
    *,
    seed: int,
    kills: int,
    operations: int,
    level: Level = "software",
    client_environ: Mapping[str, str] = MappingProxyType({}),
) -> Outcome:
    """Kill so many times while clients do at least so many operations."""
    chance = random.Random(seed)
    outcome = Outcome(seed)
    environ = {**instance.environ, **client_environ}
    with clients_at_work(environ, path, chance, level) as (board, clients):
        while sum(outcome.kills.values()) < kills:
            # A random number of operations, and a random instant within the next ones.
            wait_for_operations(board, board.operations() + chance.randint(0, 30))
            threading.Event().wait(chance.uniform(0, 0.02))
            _kill(instance, level, board, chance, outcome)
        wait_for_operations(board, operations)
        board.stop()
        reports = [report_of(client) for client in clients]
    _add_up(outcome, reports)
    return outcome


@contextlib.contextmanager
def clients_at_work(
    environ: Mapping[str, str], path: Path, chance: random.Random, level: Level
) -> Iterator[tuple[Scoreboard, list[subprocess.Popen[str]]]]:
    """Clients that use keys of a level until the board, or their end, stops them."""
    for name, algorithm in SHARED_KEYS.items():
        Keyring(level).create(name, algorithm).close()
    board = Scoreboard(path / "scoreboard", CLIENTS)
    clients = [_start_client(environ, level, number, chance, path) for number in range(CLIENTS)]
    try:
        for client in clients:
            assert client.stdout is not None
            assert client.stdout.readline() == "ready\n"
        yield board, clients
    finally:
        board.close()
        for client in clients:
            client.kill()
            client.communicate()


def _start_client(
    environ: Mapping[str, str], level: Level, number: int, chance: random.Random, path: Path
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.restart.load_client",
            level,
            str(number),
            str(chance.getrandbits(32)),
            str(path / "scoreboard"),
            str(CLIENTS),
        ],
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    )


def _kill(
    instance: RunningInstance,
    level: Level,
    board: Scoreboard,
    chance: random.Random,
    outcome: Outcome,
) -> None:
    (kind,) = chance.choices(list(VICTIMS[level]), list(VICTIMS[level].values()))
    try:
        status = instance.status()
    except NCryptError:
        return  # no supervisor at this instant; a client is just starting the next one
    victims = _pids(kind, _of_level(level, status), chance)
    if not victims:
        return  # it is just being restarted
    waiting_for = {"one worker": Doing.WORKER, "generator": Doing.KEYISO, "keyiso": Doing.KEYISO}
    under_way = board.under_way()
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    outcome.kills[kind] += 1
    if kind in waiting_for:
        outcome.in_flight += waiting_for[kind] in under_way
    else:
        outcome.in_flight += bool(under_way)


def _of_level(level: Level, status: SupervisorStatus) -> dict[str, int]:
    """The processes that may be killed now."""
    found = {one.service: one.pid for one in status.processes if one.service == "keyiso"}
    workers = [one for one in status.processes if one.service.startswith(f"{level}-")]
    if level == "vbs":
        workers = [one for one in workers if _has_roots(one)]
        workers = workers if len(workers) > 1 else []
    found |= {one.service: one.pid for one in workers} | {"supervisor": status.pid}
    return {service: pid for service, pid in found.items() if pid}


def _has_roots(pair: ProcessStatus) -> bool:
    """It is armed, and was not killed just now: the supervisor may not have noticed yet, and who
    counts on such a pair kills the last one.
    """
    return bool(pair.worker_pid) and is_alive(pair.worker_pid) and is_alive(pair.pid)


def _pids(kind: str, pids: dict[str, int], chance: random.Random) -> list[int]:
    workers = [name for name in pids if name not in ("keyiso", "supervisor")]
    generators = [name for name in workers if name.endswith("-generator")]
    holders = [name for name in workers if name not in generators]
    one = [chance.choice(holders)] if holders else []
    services = {
        "one worker": one,
        "generator": generators,
        "keyiso and all workers": ["keyiso", *workers],
        "keyiso and one worker": ["keyiso", *one],
    }.get(kind, [kind])
    return [pids[service] for service in services if service in pids]


def wait_for_operations(board: Scoreboard, count: int) -> None:
    """Wait until the clients have done so many; they always get on, or the test fails."""
    until = time.monotonic() + 2 * DEADLINE_SECONDS
    while board.operations() < count:
        assert time.monotonic() < until, "the clients do not get on"
        threading.Event().wait(0.001)


def report_of(client: subprocess.Popen[str]) -> dict[str, Any]:
    assert client.stdout is not None
    readable, _, _ = select.select([client.stdout], [], [], 2 * DEADLINE_SECONDS)
    assert readable, "a client did not end"
    line = client.stdout.readline()
    assert line, "a client ended without a report"
    report: dict[str, Any] = json.loads(line)
    return report


def _add_up(outcome: Outcome, reports: list[dict[str, Any]]) -> None:
    expected: dict[str, str] = {}
    for report in reports:
        outcome.operations += report["operations"]
        outcome.failures += report["failures"]
        outcome.wrong_keys += report["wrong_keys"]
        expected |= report["own"]
    found = {key.pszName for key in Provider().keys()} - set(SHARED_KEYS)
    outcome.lost_keys = set(expected) - found
    outcome.doubled_keys = found - set(expected)
    for name in found & set(expected):
        try:
            with Key.open(name) as key:
                if key.unique_name != expected[name]:
                    outcome.replaced_keys.add(name)
        except NCryptError as error:
            outcome.failures.append(f"{name} in the end: {error}")
