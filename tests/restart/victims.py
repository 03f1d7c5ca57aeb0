"""Whom to kill: the processes of an instance, found at the instant when they are needed."""

import contextlib
import enum
import os
import select
import signal
import threading
import time
from collections.abc import Callable

from keyiso.client.binding import bind_process
from keyiso.client.retry import RetryPolicy
from keyiso.crypto.key_header import Level
from keyiso.errors import NCryptError
from keyiso.wire.control import GetIsolation, GetServiceStatus
from keyiso.wire.results import WorkerStatus
from tests.instance import DEADLINE_SECONDS, RunningInstance


class Victim(enum.Enum):
    """A column of the matrix. A worker of level ``vbs`` is half of a pair."""

    KEYISO = "keyiso"
    HOLDER = "holding worker"
    """The worker that this process has its key channel to."""
    GUARDIAN = "its guardian"
    OTHER = "other worker"
    """One that holds keys, but no channel of this process."""
    GENERATOR = "generator"
    SUPERVISOR = "supervisor"
    SERVICES = "keyiso, workers"
    """All of them; the supervisor lives."""
    ALL_BUT_ONE = "all but a pair"
    """keyiso, and all workers but one that has no channel of this process."""
    ALL_WORKERS = "all workers"
    EVERYTHING = "everything"
    HUNG_KEYISO = "hung keyiso"
    """Stopped, not killed: the supervisor's watchdog has to notice."""
    HUNG_WORKERS = "hung workers"
    STOPPED_WORKERS = "stopped workers"
    """A pair goes on when one of the two is stopped: the other one sees to it."""
    STOPPED_GUARDIANS = "stopped guardians"
    STOPPED_PAIR = "stopped pair"
    """Both of the holding pair, again and again: it ends, or goes on."""

    @property
    def signal(self) -> signal.Signals:
        hangs = self in (Victim.HUNG_KEYISO, Victim.HUNG_WORKERS) or not self.ends
        return signal.SIGSTOP if hangs else signal.SIGKILL

    @property
    def ends(self) -> bool:
        """It is certain that it does."""
        return self not in (
            Victim.STOPPED_WORKERS,
            Victim.STOPPED_GUARDIANS,
            Victim.STOPPED_PAIR,
        )

    @property
    def holds_a_channel(self) -> bool:
        """Who it is depends on which worker has the channel of this process."""
        return self in (Victim.HOLDER, Victim.GUARDIAN, Victim.OTHER, Victim.STOPPED_PAIR)


_STOPS = 8
"""So often are both of a pair stopped. Each is let go on by the other one, if it is not stopped."""


class Victims:
    """The processes of one instance, and its workers of one level."""

    def __init__(self, instance: RunningInstance, level: Level = "software") -> None:
        self._instance = instance
        self._level = level
        # Its own binding, without a key channel, so that the one that is tested is not disturbed.
        self._observer = bind_process(instance.environ, policy=RetryPolicy())

    def settle(self) -> None:
        """Wait until every process runs, and KeyIso reaches every worker."""
        wait_until(self._complete, "the instance is not whole again")

    def holders(self) -> list[str]:
        """Workers that have a key channel."""
        return [worker.service for worker in self._workers() if worker.channels]

    def loaded_keys(self) -> list[int]:
        """How many each worker holds."""
        return [worker.loaded_keys for worker in self._workers()]

    def pidfds(self, victim: Victim) -> list[int]:
        """Descriptors of the processes; the caller closes them. None while they are not there."""
        try:
            status = self._instance.status()
        except NCryptError:
            return []  # no supervisor at this instant
        mine = [one for one in status.processes if self._concerns(one.service)]
        guardians = {one.service: one.pid for one in mine}
        workers = {one.service: one.worker_pid or one.pid for one in mine}
        found = []
        for pid in self._pids(victim, status.pid, guardians, workers):
            with contextlib.suppress(ProcessLookupError):
                found.append(os.pidfd_open(pid))
        return found

    def _pids(
        self, victim: Victim, supervisor: int, guardians: dict[str, int], workers: dict[str, int]
    ) -> list[int]:
        """Of those that are there. For what is no pair, guardian and worker are one."""
        services = sorted(set(workers) - {"keyiso"})
        generator = f"{self._level}-generator"
        match victim:
            case Victim.SUPERVISOR:
                pids = [supervisor]
            case Victim.EVERYTHING:
                pids = [supervisor, *guardians.values()]
            case Victim.HOLDER:
                pids = [workers.get(one, 0) for one in self.holders()]
            case Victim.GUARDIAN:
                pids = [guardians.get(one, 0) for one in self.holders()]
            case Victim.STOPPED_PAIR:
                pairs = (guardians, workers)
                pids = [one.get(name, 0) for name in self.holders() for one in pairs] * _STOPS
            case Victim.OTHER:
                others = [one for one in services if one not in (*self.holders(), generator)]
                pids = [workers[one] for one in others[:1]]
            case Victim.GENERATOR:
                pids = [workers[generator]]
            case Victim.SERVICES:
                pids = list(guardians.values())
            case Victim.ALL_BUT_ONE:
                left = next(one for one in services if one not in self.holders())
                pids = [pid for service, pid in guardians.items() if service != left]
            case Victim.ALL_WORKERS | Victim.HUNG_WORKERS | Victim.STOPPED_WORKERS:
                pids = [workers[one] for one in services]
            case Victim.STOPPED_GUARDIANS:
                pids = [guardians[one] for one in services]
            case Victim.KEYISO | Victim.HUNG_KEYISO:
                pids = [guardians["keyiso"]]
        return [pid for pid in pids if pid]

    def _concerns(self, service: str) -> bool:
        """Workers of the other level may not even run."""
        return service == "keyiso" or service.startswith(f"{self._level}-")

    def _workers(self) -> list[WorkerStatus]:
        workers = self._observer.control(GetServiceStatus()).workers
        return [worker for worker in workers if self._concerns(worker.service)]

    def _complete(self) -> bool:
        if self._level == "vbs":
            self._observer.control(GetIsolation())  # has its workers started, and connected to
        reached = {worker.pid for worker in self._workers()}  # starts what nobody has started yet
        try:
            processes = self._instance.status().processes
        except NCryptError:
            return False
        mine = [one for one in processes if self._concerns(one.service)]
        workers = {one.worker_pid or one.pid for one in mine if one.service != "keyiso"}
        return all(one.pid for one in mine) and reached == workers


def wait_for_end(pidfds: list[int]) -> None:
    """Wait until the processes have ended, and close the descriptors."""
    for pidfd in pidfds:
        ended, _, _ = select.select([pidfd], [], [], DEADLINE_SECONDS)
        assert ended, "a process that was killed, or hung, lives on"
        os.close(pidfd)


def close_all(pidfds: list[int]) -> None:
    """Leave the processes to what they do."""
    for pidfd in pidfds:
        os.close(pidfd)


def wait_until(condition: Callable[[], bool], complaint: str) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < until, complaint
        threading.Event().wait(0.005)
