"""What an armed process can still do, and how everything else ends."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from keyiso.trustlet.arming.guardian import EXIT_WORKER
from tests.attack import armed_code
from tests.attack.armed_code import run_armed
from tests.conformance.readable_tree import Unreadable, make_tree

IMPORTS = """
import ctypes, errno, os, socket, threading
from keyiso.trustlet.arming.kernel import system_call
"""

REFUSED = {
    "open('/etc/passwd')": "PermissionError",
    "open('/dev/null', 'w')": "PermissionError",
    "import this": "ModuleNotFoundError",
    "socket.socket()": "PermissionError",
    "os.kill(os.getppid(), 0)": "PermissionError",
    "os.memfd_create('file')": "PermissionError",
    "os.pidfd_open(os.getpid())": "PermissionError",
    "os.setuid(1)": "PermissionError",
    "os.chdir('/')": "PermissionError",
    "system_call('prctl', 4, 1)": "PermissionError",
    "system_call('memfd_secret', 0)": "PermissionError",
    "system_call('mmap', 0, 4096, 3, 0x22, -1, 0)": "OSError: [Errno 12]",
    "threading.Thread(target=print).start()": "RuntimeError: can't start new thread",
}
"""Code, and how it fails."""


def output_of(code: str) -> str:
    done = run_armed(code, before=IMPORTS)
    assert not done.stderr, done.stderr
    return done.stdout.strip()


def test_what_it_must_not_do_is_refused() -> None:
    attempts = "".join(
        f"try:\n    {code}\nexcept Exception as error:\n"
        "    print(f'{type(error).__name__}: {error}')\nelse:\n    print('done')\n"
        for code in REFUSED
    )
    lines = output_of(attempts).splitlines()

    assert len(lines) == len(REFUSED)
    for (code, error), line in zip(REFUSED.items(), lines, strict=True):
        assert line.startswith(error), code


@pytest.mark.parametrize(
    "code",
    ["os.execv('/bin/true', ['true'])", "os.fork()", "system_call('ptrace', 16, os.getppid())"],
    ids=["execute", "fork", "trace"],
)
def test_what_only_an_enemy_does_ends_it(code: str) -> None:
    """`test_arming_filters` has all of it."""
    assert output_of(f"{code}\nprint('it lives')") == ""


@pytest.mark.parametrize("code", ["ctypes.string_at(8)", "os.abort()"], ids=["fault", "abort"])
def test_a_fault_ends_it_without_a_core(code: str) -> None:
    done = run_armed(code, before=IMPORTS)

    assert (done.returncode, done.stdout) == (EXIT_WORKER, "")


def test_full_memory_is_an_error_and_no_end() -> None:
    """Again and again, in blocks of every size, so that what is free is in pieces."""
    code = """
for turn in range(3):
    blocks, short, errors = [], None, 0
    for size in (100_000, 10_000, 1_000, 100, 10):
        try:
            while True:
                blocks.append(bytearray(size + turn))
        except MemoryError:
            errors += 1
        if short is None:
            short = heap.is_short()
    blocks.clear()
    print(errors, short, heap.is_short())
"""
    assert output_of(code).splitlines() == ["5 True False"] * 3


def test_calls_as_deep_as_python_lets_them_be_find_memory() -> None:
    """Their frames too come from the heap."""
    code = """
def deep(count):
    return count and 1 + deep(count - 1)
print(deep(900), sorted([3, 1, 2], key=lambda _: deep(900)))
try:
    deep(10**6)
except RecursionError as error:
    print("RecursionError")
"""
    assert output_of(code) == "900 [3, 1, 2]\nRecursionError"


def test_random_numbers_are_seeded_anew_where_nobody_can_look() -> None:
    """`test_arming_warm_up` shows what seeding does."""
    before = """
from keyiso.trustlet.arming import armed
seeded = []
def reseed(really=armed.reseed):
    try:
        open("/dev/null")
    except PermissionError:
        seeded.append(really())
armed.reseed = reseed
"""
    done = run_armed("print(seeded)", before=before)

    assert done.stdout == "[None]\n"


def test_a_file_that_was_left_open_is_noticed() -> None:
    done = run_armed("print('armed')", before="file = open('/etc/passwd')")

    assert done.stdout == ""
    assert "the worker has a file open: /etc/passwd" in done.stderr


def test_memory_that_can_be_executed_and_written_is_noticed() -> None:
    mapping = "import mmap; m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANON, prot=7)"
    done = run_armed("print('armed')", before=mapping)

    assert done.stdout == ""
    assert "writable and executable" in done.stderr


def test_a_breakpoint_in_the_code_is_noticed() -> None:
    """The kernel's own, a uprobe, which also a process can set in itself."""
    before = """
import ctypes
from tests.attack.kernel_tracing import open_uprobe
event = open_uprobe(0, ctypes.CDLL(None).send)
"""
    done = run_armed("print('armed')", before=before)

    assert done.stdout == ""
    assert "code of the worker is not what its file holds" in done.stderr
    assert "libc" in done.stderr


def test_a_debugger_that_is_there_first_is_noticed() -> None:
    done = run_armed("print('armed')", under=("strace", "-f", "-o", os.devnull))

    assert done.stdout == ""
    assert re.search(r"process \d+ traces the worker or its guardian", done.stderr)


def test_too_little_locked_memory_is_said_with_how_much_is_needed() -> None:
    limit = ("prlimit", "--memlock=1048576:1048576")
    no_privilege = ("setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock,-sys_resource")
    done = run_armed("print('armed')", under=(*limit, *no_privilege))

    assert done.stdout == ""
    assert done.returncode == 1
    assert re.search(r"needs \d+ MiB of locked memory, and RLIMIT_MEMLOCK is 1 MiB", done.stderr)
    assert re.search(r"LimitMEMLOCK=\d+M", done.stderr)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_than_root_is_armed_too() -> None:
    """Given the memory. The two trace each other as processes of one user, and no more."""
    lock_memory = ("--inh-caps=+ipc_lock", "--ambient-caps=+ipc_lock")
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *lock_memory)
    with tempfile.TemporaryDirectory() as directory:
        try:
            python = make_tree(Path(directory), Path(armed_code.__file__))
        except Unreadable as error:
            pytest.skip(str(error))
        (program,) = Path(directory).rglob("armed_code.py")
        done = run_armed(
            "print(os.getuid())", before=IMPORTS, under=nobody, python=python, program=program
        )

    assert (done.stdout, done.stderr) == ("65534\n", "")


def test_a_worker_that_ends_early_passes_its_status_on() -> None:
    done = run_armed("print('armed')", before="import os; os._exit(42)")

    assert done.returncode == 42
    assert "the worker ended before the pair was armed" in done.stderr


def test_a_process_without_a_guardian_is_not_armed() -> None:
    code = "from keyiso.trustlet.arming.armed import become_armed; become_armed()"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60
    )

    assert "this process was not started by a guardian" in done.stderr
