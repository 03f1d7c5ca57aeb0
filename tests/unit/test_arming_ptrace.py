"""Tracing, and having a stopped process make calls by its registers."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from keyiso.trustlet.arming.dead_man import DeadManSwitch
from keyiso.trustlet.arming.injector import Injector
from keyiso.trustlet.arming.kernel import this_machine
from keyiso.trustlet.arming.mappings import regions_of
from keyiso.trustlet.arming.process import threads_of, tracer_of
from keyiso.trustlet.arming.ptrace import (
    WALL,
    WaitStatus,
    block_signals,
    interrupt,
    registers_of,
    resume,
    seize,
    wait_for,
)

SECONDS = 30

ECHO = "import sys\nfor line in sys.stdin: print(line.strip(), flush=True)"


@contextlib.contextmanager
def echoing() -> Iterator[subprocess.Popen[str]]:
    """A process that waits in a read and answers."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", ECHO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert answer(process) == "hello"
        yield process
    finally:
        process.kill()
        process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("hello\n")
    process.stdin.flush()
    ready, _, _ = select.select([process.stdout], [], [], SECONDS)
    assert ready, "it does not answer"
    return process.stdout.readline().strip()


def stop(pid: int) -> None:
    interrupt(pid)
    assert wait_for(pid).interrupted


def instruction_of(pid: int) -> int:
    (vdso,) = [region for region in regions_of(pid) if region.name == "[vdso]"]
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(vdso.start)
        return vdso.start + memory.read(vdso.size).index(this_machine().instruction)


def test_a_process_makes_calls_and_goes_on_as_if_nothing_had_been() -> None:
    with echoing() as process:
        seize(process.pid)
        stop(process.pid)
        before = bytes(registers_of(process.pid))
        with Injector(process.pid, instruction_of(process.pid)) as injected:
            assert injected.call("getpid") == process.pid
            assert injected.call("getppid") == os.getpid()
            with pytest.raises(OSError, match="close in the worker: Bad file descriptor"):
                injected.call("close", 12345)
            address = injected.call("mmap", 0, 4096, 3, 0x22, -1, 0)
        assert bytes(registers_of(process.pid)) == before
        resume(process.pid)

        assert answer(process) == "hello"
        assert any(region.start <= address < region.end for region in regions_of(process.pid))


def test_a_signal_while_calls_are_made_is_dropped() -> None:
    with echoing() as process:
        seize(process.pid)
        stop(process.pid)
        with Injector(process.pid, instruction_of(process.pid)) as injected:
            for _ in range(20):
                os.kill(process.pid, signal.SIGSTOP)
                assert injected.call("getpid") == process.pid
        resume(process.pid)
        while (found := os.waitpid(process.pid, WALL | os.WNOHANG))[0]:
            assert WaitStatus(found[1]).harmless
            resume(process.pid)

        assert answer(process) == "hello"


def test_who_is_traced_cannot_be_traced_by_another() -> None:
    with echoing() as process:
        seize(process.pid)
        assert tracer_of(process.pid) == os.getpid()
        pid = os.fork()
        if not pid:
            try:
                seize(process.pid)
            except PermissionError:
                os._exit(7)
            finally:
                os._exit(1)

        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_tracee_dies_with_its_tracer() -> None:
    with echoing() as process:
        pid = os.fork()
        if not pid:
            seize(process.pid)
            os._exit(0)
        os.waitpid(pid, 0)

        assert process.wait(SECONDS) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("status", "harmless", "text"),
    [
        (0x137F, True, "stopped by Stopped (signal)"),  # SIGSTOP is about to be delivered
        (0x80137F, True, "stopped by Stopped (signal)"),  # the process stands still
        (0x80057F, True, "stopped by Trace/breakpoint trap"),  # interrupted
        (0x857F, True, "stopped by Trace/breakpoint trap"),  # at a system call
        (0x217F, True, "stopped by signal 33"),
        (0x0B7F, False, "stopped by Segmentation fault"),
        (0x067F, False, "stopped by Aborted"),
        (0x057F, False, "stopped by Trace/breakpoint trap"),  # a breakpoint
        (0x0F7F, False, "stopped by Terminated"),
        (0x0009, False, "ended by Killed"),
        (0x2A00, False, "exit 42"),
    ],
)
def test_what_a_stop_means(status: int, harmless: bool, text: str) -> None:
    found = WaitStatus(status)

    assert (found.harmless, str(found)) == (harmless, text)


def test_blocked_signals_are_blocked_in_what_is_started() -> None:
    pid = os.fork()
    if not pid:
        block_signals()
        code = "import signal; exit(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
        os.execv(sys.executable, [sys.executable, "-I", "-c", code])

    blocked = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert blocked == len(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def test_threads_are_listed_with_the_process_first() -> None:
    assert threads_of("self")[0] == os.getpid()


def test_a_switch_that_is_not_put_off_kills_even_one_that_stands_still() -> None:
    pid = os.fork()
    if not pid:
        block_signals()
        DeadManSwitch(1)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(1)
    ended, _, _ = select.select([process := os.pidfd_open(pid)], [], [], SECONDS)
    os.close(process)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    assert ended


def test_a_switch_that_is_put_off_does_not() -> None:
    pid = os.fork()
    if not pid:
        switch = DeadManSwitch(1)
        for _ in range(3):
            time.sleep(0.5)
            switch.put_off(60)
        os._exit(7)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
