"""An instance of keyiso that lives for one command, and leaves nothing behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from keyiso.cli._ending import end_instance, kill_instance, wait_for_end
from keyiso.cli.serve import supervisor_command
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import supervisor_status
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.paths import Instance, client_instance, home_directory
from keyiso.status import Status

_START_SECONDS: Final = 20.0
_WORKERS: Final = 2
"""However many processors there are: two are enough to show it."""

_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class TemporaryInstance:
    """It runs in the background, in a home of its own."""

    home: Path
    instance: Instance

    @property
    def supervisor(self) -> int:
        """The supervisor's pid."""
        return supervisor_status(self.instance, trusted_uids()).pid

    def pids(self) -> dict[str, int]:
        """The services that were started, and their pids; 0 for one that is just started again."""
        status = supervisor_status(self.instance, trusted_uids())
        return {entry.service: entry.pid for entry in status.processes if entry.started}

    def pair_pids(self) -> tuple[int, ...]:
        """The processes of pairs that are armed: each worker, and its guardian."""
        status = supervisor_status(self.instance, trusted_uids())
        pairs = (entry for entry in status.processes if entry.worker_pid)
        return tuple(pid for entry in pairs for pid in (entry.worker_pid, entry.pid))

    def kill_services(self) -> None:
        """SIGKILL to every service at once; returns when all of them are gone."""
        pidfds = [os.pidfd_open(pid) for pid in self.pids().values() if pid]
        try:
            for pidfd in pidfds:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            for pidfd in pidfds:
                wait_for_end(pidfd)
        finally:
            for pidfd in pidfds:
                os.close(pidfd)


@contextlib.contextmanager
def temporary_instance(*, keep: bool) -> Iterator[TemporaryInstance]:
    """An instance that this process uses meanwhile, instead of the user's.

    It is ended and removed in any case, unless ``keep`` was asked for and nothing failed.
    """
    kept = False
    with _ended_in_order(), _home() as home:
        try:
            yield _started(home)
            kept = keep
        finally:
            if not kept:
                with _undisturbed():
                    _remove(home)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """A new directory that ``KEYISO_HOME`` names meanwhile."""
    if home_directory({"KEYISO_HOME": "/"}) is None:
        # Everything below would be done to the user's own instance.
        raise ncrypt_error(
            Status.NTE_PERM,
            "a process with more rights than its caller does not use KEYISO_HOME",
            "Start it without set-id bits or file capabilities.",
        )
    before = os.environ.get("KEYISO_HOME")
    home = Path(tempfile.mkdtemp(prefix="keyiso-quickstart-"))
    os.environ["KEYISO_HOME"] = str(home)
    try:
        yield home
    finally:
        if before is None:
            del os.environ["KEYISO_HOME"]
        else:
            os.environ["KEYISO_HOME"] = before


def _started(home: Path) -> TemporaryInstance:
    try:
        # It goes into the background by itself, once its sockets are there.
        started = subprocess.run(
            supervisor_command("--detach", f"--workers={_WORKERS}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_START_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _not_started(f"it was not ready after {_START_SECONDS:g} s") from None
    if started.returncode:
        raise _not_started(started.stderr.decode("utf-8", "replace").strip())
    return TemporaryInstance(home, client_instance(os.environ))


def _not_started(reason: str) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_SERVICE_UNAVAILABLE, f"keyiso could not be started: {reason}"
    )


def _remove(home: Path) -> None:
    """End the instance, in order or else by force, and remove its directories."""
    running = TemporaryInstance(home, client_instance(os.environ))
    with contextlib.suppress(NCryptError):  # it never started, or ended by itself
        supervisor = running.supervisor
        try:
            end_instance(running.instance, supervisor)
        except NCryptError:
            kill_instance(supervisor)
    for directory in (running.instance.runtime, home):
        shutil.rmtree(directory, ignore_errors=True)
        if directory.exists():
            raise ncrypt_error(
                Status.NTE_FAIL, f"{directory} could not be removed", "Remove it yourself."
            )


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Signals that would end this process at once become exceptions, as ^C is one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler == signal.SIG_DFL:  # nohup ignores SIGHUP, and means it
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """An impatient second ^C does not leave half of it behind; all that is done is bounded."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
