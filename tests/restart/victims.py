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
from keyiso.errors import NCryptError
from keyiso.wire.operations import GetServiceStatus, WorkerStatus
from tests.instance import DEADLINE_SECONDS, RunningInstance

GENERATOR = "software-generator"


class Victim(enum.Enum):
    """A column of the matrix."""

    KEYISO = "keyiso"
    HOLDER = "holding worker"
    """The worker that this process has its key channel to."""
    OTHER = "other worker"
    """One that holds keys, but no channel of this process."""
    GENERATOR = "generator"
    SUPERVISOR = "supervisor"
    SERVICES = "keyiso, workers"
    """All of them; the supervisor lives."""
    EVERYTHING = "everything"
    HUNG_KEYISO = "hung keyiso"
    """Stopped, not killed: the supervisor's watchdog has to notice."""
    HUNG_WORKERS = "hung workers"

    @property
    def signal(self) -> signal.Signals:
        hangs = self in (Victim.HUNG_KEYISO, Victim.HUNG_WORKERS)
        return signal.SIGSTOP if hangs else signal.SIGKILL


class Victims:
    """The processes of one instance."""

    def __init__(self, instance: RunningInstance) -> None:
        self._instance = instance
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
            pids = self._instance.pids()
        except NCryptError:
            return []  # no supervisor at this instant
        found = []
        for service in self._services(victim, pids):
            with contextlib.suppress(KeyError, ProcessLookupError):
                found.append(os.pidfd_open(pids[service]))
        return found

    def _services(self, victim: Victim, pids: dict[str, int]) -> list[str]:
        workers = [name for name in pids if name not in ("keyiso", "supervisor")]
        match victim:
            case Victim.HOLDER:
                return self.holders()
            case Victim.OTHER:
                return sorted(set(workers) - set(self.holders()) - {GENERATOR})[:1]
            case Victim.GENERATOR:
                return [GENERATOR]
            case Victim.SERVICES:
                return ["keyiso", *workers]
            case Victim.HUNG_WORKERS:
                return workers
            case Victim.EVERYTHING:
                return list(pids)
            case Victim.HUNG_KEYISO:
                return ["keyiso"]
        return [victim.value]

    def _workers(self) -> tuple[WorkerStatus, ...]:
        return self._observer.control(GetServiceStatus()).workers

    def _complete(self) -> bool:
        reached = {worker.pid for worker in self._workers()}  # starts what nobody has started yet
        try:
            pids = {entry.service: entry.pid for entry in self._instance.status().processes}
        except NCryptError:
            return False
        return all(pids.values()) and reached == set(pids.values()) - {pids["keyiso"]}


def wait_for_end(pidfds: list[int]) -> None:
    """Wait until the processes have ended, and close the descriptors."""
    for pidfd in pidfds:
        ended, _, _ = select.select([pidfd], [], [], DEADLINE_SECONDS)
        assert ended, "a process that was killed, or hung, lives on"
        os.close(pidfd)


def wait_until(condition: Callable[[], bool], complaint: str) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < until, complaint
        threading.Event().wait(0.005)
