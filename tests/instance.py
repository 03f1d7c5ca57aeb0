"""A running keyiso instance as tests see it: its processes, by their own status."""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import stop_instance, supervisor_status
from keyiso.errors import NCryptError
from keyiso.paths import Instance, client_instance
from keyiso.router import process_router
from keyiso.wire.supervision import SupervisorStatus
from tests.waiting import wait_until

DEADLINE_SECONDS = 120


class RunningInstance:
    """Started in the background as a client would start it, and ended for good."""

    def __init__(self, home: Path, options: tuple[str, ...] = ()) -> None:
        self.home = home
        self._options = options
        self._supervisors: set[int] = set()

    @property
    def environ(self) -> Mapping[str, str]:
        return {**os.environ, "KEYISO_HOME": str(self.home)}

    @property
    def instance(self) -> Instance:
        return client_instance(self.environ)

    def start(self) -> None:
        subprocess.run(
            [sys.executable, "-I", "-m", "keyiso.supervisor", "--detach", *self._options],
            env=self.environ,
            check=True,
            timeout=DEADLINE_SECONDS,
        )
        self._supervisors.add(self.status().pid)

    def status(self) -> SupervisorStatus:
        return supervisor_status(self.instance, trusted_uids())

    def pid_of(self, service: str) -> int:
        """The pid of a service, 0 while it is not running."""
        if service == "supervisor":
            return self.status().pid
        return next(entry.pid for entry in self.status().processes if entry.service == service)

    def pids(self) -> dict[str, int]:
        """Every process that runs, by its service."""
        status = self.status()
        running = {entry.service: entry.pid for entry in status.processes if entry.pid}
        return {"supervisor": status.pid, **running}

    def kill(self, *services: str) -> None:
        """SIGKILL, all at once. Returns when they have ended, and with guardians their workers,
        which the kernel kills a moment later. One that is just being started again is waited for.
        """
        victims, workers = self._victims(services)
        for pidfd in victims:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pidfd in (*victims, *workers):
            _wait_for_end(pidfd)

    def _victims(self, services: Iterable[str]) -> tuple[list[int], list[int]]:
        """All of these services and their workers, while they run: the supervisor may not have
        noticed yet that one was killed before.
        """
        victims: list[int] = []
        workers: list[int] = []

        def all_run() -> bool:
            while victims or workers:
                os.close((victims or workers).pop())
            worker_pids = {one.service: one.worker_pid for one in self.status().processes}
            pids = self.pids()
            with contextlib.suppress(KeyError, ProcessLookupError):
                for service in services:
                    victims.append(os.pidfd_open(pids[service]))
                    if worker_pid := worker_pids.get(service):
                        workers.append(os.pidfd_open(worker_pid))
                return not any(map(_has_ended, (*victims, *workers)))
            return False

        wait_until(all_run, f"{', '.join(services)} to run")
        return victims, workers

    def kill_everything(self) -> None:
        """SIGKILL, so that nothing ends in order; returns when all processes are gone."""
        self.kill(*self.pids())

    def end(self) -> None:
        """Stop every supervisor that served this home, and wait until its processes are gone."""
        try:
            watched = [os.pidfd_open(pid) for pid in self.pids().values()]
            stop_instance(self.instance, trusted_uids())
        except (NCryptError, ProcessLookupError):
            return
        for pidfd in watched:
            _wait_for_end(pidfd)


def is_alive(pid: int) -> bool:
    """It has not ended, whatever its parent has noticed of that."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        return not _has_ended(pidfd)
    finally:
        os.close(pidfd)


def _has_ended(pidfd: int, seconds: float = 0) -> bool:
    waiting = select.poll()  # a process with a thousand clients has higher descriptors than select
    waiting.register(pidfd, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def _wait_for_end(pidfd: int) -> None:
    try:
        ended = _has_ended(pidfd, DEADLINE_SECONDS)
        assert ended, "a process of the instance did not end"
    finally:
        os.close(pidfd)


Running = TypeVar("Running", bound=RunningInstance)


@contextlib.contextmanager
def in_use(running: Running) -> Iterator[Running]:
    """Start an instance, and have this process and its children use it until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYISO_HOME", str(running.home))
        process_router.cache_clear()
        running.start()
        runtime = running.instance.runtime
        try:
            yield running
        finally:
            process_router.cache_clear()
            running.end()
            shutil.rmtree(runtime, ignore_errors=True)
