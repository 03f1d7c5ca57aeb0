"""The guardian: starts a worker, moves its memory, and stays its tracer until both end."""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from keyiso.errors import NCryptError
from keyiso.server.startup import die_with_parent
from keyiso.trustlet.arming import heap
from keyiso.trustlet.arming.backing import Backing
from keyiso.trustlet.arming.dead_man import DeadManSwitch
from keyiso.trustlet.arming.guardian_filter import guardian_table
from keyiso.trustlet.arming.handshake import ENVIRONMENT_NAME, Handshake, Step, handshake_pair
from keyiso.trustlet.arming.kernel import (
    allow_tracer,
    disturbed,
    forbid_dumps,
    forbid_new_privileges,
    may_not_trace,
    this_machine,
)
from keyiso.trustlet.arming.mappings import regions_of
from keyiso.trustlet.arming.memory_lock import check_memory_lock, raise_memory_lock_limit
from keyiso.trustlet.arming.process import close_all_but, threads_of, tracer_of
from keyiso.trustlet.arming.ptrace import (
    WALL,
    WaitStatus,
    block_signals,
    interrupt,
    resume,
    seize,
    wait_for,
)
from keyiso.trustlet.arming.rehome import plan_moves, rehome
from keyiso.trustlet.arming.seccomp import assemble, install
from keyiso.trustlet.arming.suspicion import check_unwatched

EXIT_FAILED: Final = 1
"""The pair did not come about; standard error says why."""

EXIT_WORKER: Final = 70
"""The worker did something that it never does, as after a fault in its memory."""

ARMING_SECONDS: Final = 60
"""A guardian that has not armed its worker by then ends. Usually it takes a third of a second."""

STANDSTILL_SECONDS: Final = 10
"""A guardian that has been kept from running for so long ends, and its worker with it."""

_ROUND_SECONDS: Final = STANDSTILL_SECONDS / 4

_REQUESTS_TO_END: Final = frozenset({signal.SIGTERM, signal.SIGINT})


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """What a guardian starts."""

    command: Sequence[str]
    """The program and its arguments. Python must not be told to ignore the environment: ``-P -s``
    instead of ``-I``. See `python_command`."""
    environment: Mapping[str, str]
    """All of it; the guardian adds what arming needs."""
    descriptors: Sequence[int] = ()
    """What the worker inherits besides standard input, output and error, under the same numbers.
    With LISTEN_FDS in the environment, LISTEN_PID becomes the worker's."""


@dataclass(frozen=True, slots=True)
class NotArmed:
    """There is no pair."""

    status: int
    """For the process to end with: the worker's own exit status, or `EXIT_FAILED`."""
    reason: NCryptError | OSError


PYTHON_FLAGS: Final = ("-P", "-s")
"""This Python for a worker: isolated as ``-I`` does it, but for the environment, which is ours and
has the settings of its allocator."""


def python_command(*arguments: str) -> tuple[str, ...]:
    """What runs a program of a worker."""
    return (sys.executable, *PYTHON_FLAGS, *arguments)


def run_guardian(worker: WorkerStart) -> NotArmed:
    """Be the guardian of a worker: the last thing that a process does.

    It has dropped its privileges already, has one thread, and holds nothing worth reading. Once
    the worker is armed this returns no more: the process ends with 0 when it was asked to end
    (SIGTERM, SIGINT), by SIGKILL when the worker ended, with `EXIT_WORKER` when it had to be ended.
    Until then it returns why there is no pair, which it has also said on standard error. All
    signals are blocked then.
    """
    block_signals()  # inherited by the worker; see there for the reason
    try:
        backing = Backing.create()
        _harden()
    except (NCryptError, OSError) as error:
        _print(error)
        return NotArmed(EXIT_FAILED, error)
    handshake, theirs = handshake_pair()
    pid = _start(worker, theirs.fileno())
    theirs.close()
    alarm = DeadManSwitch(ARMING_SECONDS)
    try:
        _arm(pid, handshake, backing, alarm)
    except (NCryptError, OSError) as error:
        alarm.switch_off()
        return NotArmed(_give_up(pid, error), error)
    _stand_guard(pid, alarm)


def _harden() -> None:
    raise_memory_lock_limit()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    forbid_new_privileges()


def _start(worker: WorkerStart, control: int) -> int:
    guardian = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        environment = {
            **worker.environment,
            **heap.ENVIRONMENT,
            ENVIRONMENT_NAME: str(control),
        }
        if "LISTEN_FDS" in environment:
            environment["LISTEN_PID"] = str(os.getpid())
        for descriptor in worker.descriptors:
            os.set_inheritable(descriptor, True)
        die_with_parent(guardian)
        os.execve(worker.command[0], list(worker.command), environment)  # noqa: S606 (ours)
    except OSError as error:
        _print(error)
    finally:
        os._exit(EXIT_FAILED)


def _arm(pid: int, handshake: Handshake, backing: Backing, alarm: DeadManSwitch) -> None:
    """The guardian's side of the handshake."""
    allow_tracer(pid)
    handshake.wait_for(Step.READY)
    check_unwatched(pid)
    threads = _stop_all_threads(pid)
    plan = plan_moves(regions_of(pid))
    check_memory_lock(pid, plan.secret_bytes)
    rehome(pid, backing, plan)
    backing.close()
    for thread in threads:
        resume(thread)
    handshake.say(Step.MOVED)
    watcher = handshake.wait_for(Step.WATCHED)
    _check_watched_by(pid, watcher)
    forbid_dumps()
    control = handshake.connection.fileno()
    close_all_but((0, 1, 2, control))
    install(assemble(guardian_table(control), this_machine()))
    alarm.put_off(STANDSTILL_SECONDS)
    handshake.say(Step.GUARDING)
    handshake.connection.close()


def _stop_all_threads(pid: int) -> tuple[int, ...]:
    """Become the tracer of every thread, and have them all stopped. A stopped thread starts no
    other one, so that the search ends.
    """
    stopped: dict[int, None] = {}
    while new := [thread for thread in threads_of(pid) if thread not in stopped]:
        for thread in new:
            _stop(thread)
            stopped[thread] = None
    return tuple(stopped)


def _stop(thread: int) -> None:
    try:
        seize(thread)
    except PermissionError:
        raise may_not_trace("the worker") from None
    interrupt(thread)
    while not (status := wait_for(thread)).interrupted:
        if not status.harmless:
            raise disturbed(f"the worker {status} while it was being armed")
        resume(thread)


def _check_watched_by(worker: int, watcher: int) -> None:
    """Raise `VbsUnavailableError` unless the tracer of this process is that thread of its worker.

    The worker will believe what this says, so that it must not have been said by somebody else.
    """
    if watcher not in threads_of(worker) or tracer_of("self") != watcher:
        raise disturbed("the guardian is not traced by its worker")


def _give_up(worker: int, error: Exception) -> int:
    """Say why, and end the worker. The exit status of one that ended by itself is passed on."""
    _print(error)  # first: the worker may be the tracer already, with which this process ends
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    status = _last_status(worker)
    return os.WEXITSTATUS(status) or EXIT_FAILED if os.WIFEXITED(status) else EXIT_FAILED


def _last_status(worker: int) -> int:
    """Wait for the end of all threads of the worker, each of which tells its tracer."""
    while True:
        thread, status = os.waitpid(-1, WALL)
        if thread == worker and not os.WIFSTOPPED(status):
            return status


def _stand_guard(worker: int, alarm: DeadManSwitch) -> NoReturn:
    """Let the worker go on whenever it has stopped, drop what was to be delivered, and end with
    it. From here on nothing can be opened, and hardly anything allocated.
    """
    wanted = _REQUESTS_TO_END | {signal.SIGCHLD}
    while True:
        _answer_stops(worker)
        alarm.put_off(STANDSTILL_SECONDS)
        came = signal.sigtimedwait(wanted, _ROUND_SECONDS)
        if came is not None and came.si_signo in _REQUESTS_TO_END:
            os._exit(0)  # and the kernel kills the worker


def _answer_stops(worker: int) -> None:
    while True:
        thread, number = os.waitpid(-1, WALL | os.WNOHANG)
        if not thread:
            return
        status = WaitStatus(number)
        if status.harmless:
            with contextlib.suppress(ProcessLookupError):  # it was killed meanwhile
                resume(thread)
        elif not status.ended or thread == worker:
            os._exit(EXIT_WORKER)


def _print(error: Exception) -> None:
    print(f"keyiso guardian: {error}", file=sys.stderr, flush=True)
