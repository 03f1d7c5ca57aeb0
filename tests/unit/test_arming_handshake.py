"""The steps that guardian and worker take together, and what a wrong one leads to."""

import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from keyiso.errors import VbsUnavailableError
from keyiso.trustlet.arming import handshake as handshakes
from keyiso.trustlet.arming.guardian import EXIT_FAILED
from keyiso.trustlet.arming.handshake import Handshake, Step, handshake_of_worker, handshake_pair
from keyiso.trustlet.arming.memory_lock import check_memory_lock, may_lock_everything
from keyiso.trustlet.arming.shields import ARMED, GUARDED, SECCOMP, missing, no, unknown, yes
from keyiso.trustlet.arming.suspicion import check_unwatched, tracing_programs


@pytest.fixture
def ends() -> Iterator[tuple[Handshake, socket.socket]]:
    ours, theirs = handshake_pair()
    yield ours, theirs
    ours.connection.close()
    theirs.close()


Ends = tuple[Handshake, socket.socket]


def test_both_sides_take_their_steps(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    guardian, theirs = ends
    monkeypatch.setenv(handshakes.ENVIRONMENT_NAME, str(theirs.detach()))
    worker = handshake_of_worker()

    worker.say(Step.READY)
    guardian.wait_for(Step.READY)
    guardian.say(Step.MOVED)
    worker.wait_for(Step.MOVED)
    worker.say(Step.WATCHED, 4_194_303)
    assert guardian.wait_for(Step.WATCHED) == 4_194_303
    worker.connection.close()


@pytest.mark.parametrize(
    "message", [b"\x02\0\0\0\0", b"\x01\0\0\0", b"\x01\0\0\0\0\0", b"x"], ids=repr
)
def test_a_step_out_of_turn_is_refused(ends: Ends, message: bytes) -> None:
    guardian, theirs = ends
    theirs.send(message)

    with pytest.raises(VbsUnavailableError, match="did not say READY"):
        guardian.wait_for(Step.READY)


def test_who_has_gone_is_missed(ends: Ends) -> None:
    guardian, theirs = ends
    theirs.close()

    with pytest.raises(VbsUnavailableError, match="the worker ended"):
        guardian.wait_for(Step.READY)
    with pytest.raises(VbsUnavailableError, match="the worker ended"):
        guardian.say(Step.MOVED)


def test_who_is_silent_is_not_waited_for_for_ever(ends: Ends) -> None:
    guardian, _ = ends
    guardian.connection.settimeout(0.01)

    with pytest.raises(VbsUnavailableError, match="was silent"):
        guardian.wait_for(Step.READY)


@pytest.mark.parametrize("value", [None, "", "x", "-1"])
def test_a_process_without_a_guardian_has_no_end(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(handshakes.ENVIRONMENT_NAME, raising=False)
    if value is not None:
        monkeypatch.setenv(handshakes.ENVIRONMENT_NAME, value)

    with pytest.raises(VbsUnavailableError, match="not started by a guardian"):
        handshake_of_worker()


def test_a_program_that_cannot_be_started_is_reported() -> None:
    code = """
from keyiso.trustlet.arming.guardian import WorkerStart, run_guardian
raise SystemExit(run_guardian(WorkerStart(("/no/such/program",), {})).status)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == EXIT_FAILED
    assert "No such file or directory: '/no/such/program'" in done.stderr


def test_the_limit_on_locked_memory_is_compared_with_the_need() -> None:
    pid = os.fork()
    if not pid:
        code = 1
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))
        try:
            check_memory_lock(os.getpid(), 1 << 20)
            check_memory_lock(os.getpid(), (1 << 20) + 1)
        except VbsUnavailableError as error:
            code = 7 if "needs 2 MiB" in str(error) else 2
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert code == (1 if may_lock_everything("self") else 7)


def test_a_process_that_nobody_traces_is_not_suspected() -> None:
    process = subprocess.Popen([sys.executable, "-I", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        check_unwatched(process.pid)
    finally:
        process.communicate(b"\n")


def test_programs_that_trace_are_listed_or_unknown() -> None:
    """`tests/attack` loads one."""
    programs = tracing_programs()

    assert programs is None or all(" " in program for program in programs)


def test_only_a_certain_yes_counts() -> None:
    findings = [yes(name, "tried") for name in ARMED if name not in (GUARDED, SECCOMP)]
    findings += [no(GUARDED, "not traced")]

    assert [str(finding) for finding in missing(findings)] == [
        "guarded: no (not traced)",
        "seccomp: unknown (it was not probed)",
    ]
    assert [one.shield for one in missing([unknown(GUARDED, "not asked")], [GUARDED])] == [GUARDED]
    assert missing([yes(GUARDED, "tried")], [GUARDED]) == ()
