"""The tables of system calls, as the kernel applies them: each rule in a process of its own."""

import ctypes
import errno
import os
import signal
import struct
import threading
from collections.abc import Callable

import pytest

from keyiso.trustlet.arming.guardian_filter import guardian_table
from keyiso.trustlet.arming.kernel import forbid_new_privileges, system_call, this_machine
from keyiso.trustlet.arming.ptrace import CONT
from keyiso.trustlet.arming.seccomp import ALLOW, KILL, Only, Rule, Table, answer, assemble, install
from keyiso.trustlet.arming.worker_filter import worker_table

GUARDIAN = 4_000_000
"""A pid that no process has (PID_MAX_LIMIT is 4194304, and nobody counts so far in a test)."""

CONTROL = 1000
"""A descriptor that is not open."""

WORKER = worker_table(GUARDIAN)
GUARD = guardian_table(CONTROL)

LIBC = ctypes.CDLL(None, use_errno=True)

DONE = 100
"""The exit status of a call that returned without an errno."""


def outcome(table: Table, name: str, *arguments: int) -> int:
    """What becomes of a call under a table: its errno, `DONE`, or the signal's negative."""
    program = assemble(table, this_machine())
    number = this_machine().numbers[name]
    pid = os.fork()
    if not pid:
        try:
            forbid_new_privileges()
            install(program)
            padded = (*arguments, *(0,) * (6 - len(arguments)))
            result = LIBC.syscall(*map(ctypes.c_long, (number, *padded)))
            os._exit(ctypes.get_errno() if result == -1 else DONE)
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def names(table: Table, wanted: Callable[[Rule], bool]) -> list[str]:
    return [rule.name for rule in table.rules if wanted(rule)]


def test_every_rule_has_a_known_name_and_a_reason() -> None:
    for table in (WORKER, GUARD):
        for rule in table.rules:
            assert rule.name in this_machine().numbers
            assert rule.reason


def test_no_call_has_two_rules() -> None:
    for table in (WORKER, GUARD):
        found = [rule.name for rule in table.rules]
        assert sorted(found) == sorted(set(found))


@pytest.mark.parametrize("name", names(WORKER, lambda rule: rule.action is KILL))
def test_a_worker_that_does_what_only_an_enemy_does_is_ended(name: str) -> None:
    assert outcome(WORKER, name) == -signal.SIGSYS


@pytest.mark.parametrize(
    "name", ["openat", "open", "socket", "connect", "kill", "memfd_create", "memfd_secret", "prctl"]
)
def test_what_a_worker_has_no_rule_for_is_refused(name: str) -> None:
    assert outcome(WORKER, name) == errno.EPERM


def test_memory_does_not_grow() -> None:
    assert outcome(WORKER, "mmap", 0, 4096, 3, 0x22, -1, 0) == errno.ENOMEM
    assert outcome(WORKER, "brk", 1 << 40) == DONE  # and it returned 0, as the next test shows


def test_a_break_that_does_not_move_is_seen_as_full_memory() -> None:
    """An errno in its place would be taken for an address: malloc would go on there."""
    LIBC.sbrk.restype = ctypes.c_void_p
    LIBC.sbrk.argtypes = [ctypes.c_long]
    pid = os.fork()
    if not pid:
        forbid_new_privileges()
        install(assemble(WORKER, this_machine()))
        fails = all(LIBC.sbrk(size) == ctypes.c_void_p(-1).value for size in (4096, 1, 1 << 30))
        os._exit(DONE if fails else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == DONE


@pytest.mark.parametrize(
    ("request_", "pid", "expected"),
    [
        (CONT, GUARDIAN, errno.ESRCH),  # the kernel was asked, and knows no such process
        (CONT, 1, -signal.SIGSYS),
        (CONT + (1 << 32), GUARDIAN, -signal.SIGSYS),
        (CONT, GUARDIAN + (1 << 32), -signal.SIGSYS),
        (16, GUARDIAN, -signal.SIGSYS),  # PTRACE_ATTACH
        (0x4206, GUARDIAN, -signal.SIGSYS),  # PTRACE_SEIZE
        (5, GUARDIAN, -signal.SIGSYS),  # PTRACE_POKEDATA
    ],
)
def test_a_worker_only_lets_its_guardian_go_on(request_: int, pid: int, expected: int) -> None:
    assert outcome(WORKER, "ptrace", request_, pid) == expected


@pytest.mark.parametrize("request_", [16, 17, 0x4206, 0x4207, 0x4208, 2, 5, 12, 13, 0x4200])
def test_a_guardian_can_only_let_go_on(request_: int) -> None:
    """Not detach, interrupt, peek, poke, nor change registers or options."""
    assert outcome(GUARD, "ptrace", request_, GUARDIAN) == -signal.SIGSYS
    assert outcome(GUARD, "ptrace", CONT, GUARDIAN) == errno.ESRCH


@pytest.mark.parametrize(
    "name", ["openat", "read", "socket", "execve", "fork", "clone3", "kill", "mprotect", "prctl"]
)
def test_a_guardian_that_does_anything_else_is_ended(name: str) -> None:
    assert outcome(GUARD, name) == -signal.SIGSYS


def test_a_guardian_writes_to_its_worker_alone() -> None:
    assert outcome(GUARD, "write", CONTROL, 0, 0) == errno.EBADF
    assert outcome(GUARD, "write", 2, 0, 0) == -signal.SIGSYS


@pytest.mark.parametrize("bit", [30, 31])
def test_numbers_of_another_abi_end_the_process(bit: int) -> None:
    """x32 calls have bit 30; otherwise they would pass as calls without a rule."""
    pid = os.fork()
    if not pid:
        forbid_new_privileges()
        install(assemble(Table((), ALLOW), this_machine()))
        LIBC.syscall(ctypes.c_long(1 << bit))
        os._exit(DONE)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGSYS


def test_an_argument_is_one_of_several_or_the_call_meets_otherwise() -> None:
    table = Table(
        (
            Rule(
                "close",
                answer(errno.EXDEV),
                "",
                (Only(0, (70_000, 80_000, 5 << 32)),),
                otherwise=answer(errno.EDOM),
            ),
        ),
        ALLOW,
    )

    assert outcome(table, "close", 70_000) == errno.EXDEV
    assert outcome(table, "close", 80_000) == errno.EXDEV
    assert outcome(table, "close", 90_000) == errno.EDOM


def test_a_name_that_the_machine_does_not_have_needs_no_rule() -> None:
    table = Table((Rule("no_such_call", KILL, ""),), ALLOW)

    assert assemble(table, this_machine()) == assemble(Table((), ALLOW), this_machine())


def test_what_a_rule_does_can_be_read() -> None:
    assert [str(action) for action in (ALLOW, KILL, answer(errno.ENOMEM))] == [
        "allowed",
        "ends the process",
        "ENOMEM",
    ]


def test_a_thread_that_is_under_another_filter_is_noticed() -> None:
    """The kernel answers with the thread's id, which is no error number."""
    pid = os.fork()
    if not pid:
        forbid_new_privileges()
        began, done = threading.Event(), threading.Event()

        def filter_itself_alone() -> None:
            program = assemble(Table((), ALLOW), this_machine())
            code = ctypes.create_string_buffer(program, len(program))
            header = struct.pack("HP", len(program) // 8, ctypes.addressof(code))
            buffer = ctypes.create_string_buffer(header)
            system_call("seccomp", 1, 0, ctypes.addressof(buffer))
            began.set()
            done.wait()

        threading.Thread(target=filter_itself_alone, daemon=True).start()
        began.wait()
        try:
            install(assemble(WORKER, this_machine()))
        except OSError as error:
            os._exit(DONE if "is under another filter" in str(error) else 1)
        finally:
            os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == DONE


def test_an_installed_filter_refuses_what_system_call_then_raises() -> None:
    pid = os.fork()
    if not pid:
        forbid_new_privileges()
        install(assemble(WORKER, this_machine()))
        try:
            system_call("openat", 0, 0)
        except PermissionError:
            os._exit(DONE)
        finally:
            os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == DONE
