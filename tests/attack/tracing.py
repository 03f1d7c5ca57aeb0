"""Attacks that stop a process and look into it, or make it act: ptrace(2) and what is built on
it."""

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from keyiso.trustlet.arming.injector import Injector
from keyiso.trustlet.arming.kernel import system_call, this_machine
from keyiso.trustlet.arming.process import threads_of
from keyiso.trustlet.arming.ptrace import interrupt, registers_of, resume, wait_for
from tests.attack.outcome import Outcome, found, found_words, impossible
from tests.attack.reading import IoVec, regions
from tests.attack.search import Search
from tests.attack.target import SECONDS, Target

STOPS = 200
"""How often registers are looked at; each stop is somewhere in a signature."""

TRACESYSGOOD = 0x1

SEIZE = 0x4206
_DETACH = 17
_PEEKDATA = 2
_GETREGSET = 0x4204
_NT_X86_XSTATE = 0x202
_XSTATE_BYTES = 16384

_MOST_PEEKED = 1 << 20
"""At a time, while the worker stands still."""

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class NotAllowed(Exception):
    """The kernel refused to let a process be traced."""


@contextlib.contextmanager
def traced(thread: int, options: int = TRACESYSGOOD) -> Iterator[None]:
    """Be the tracer of a thread, from the thread that asks, and let it live at the end."""
    try:
        system_call("ptrace", SEIZE, thread, 0, options)
    except PermissionError as error:
        raise NotAllowed(f"attaching: {error.strerror}") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            stop(thread)
            system_call("ptrace", _DETACH, thread, 0, 0)


def stop(thread: int) -> None:
    interrupt(thread)
    while not wait_for(thread).interrupted:
        resume(thread)


def peek(subject: Target) -> Outcome:
    """PTRACE_PEEKDATA over what is written, the heap first. It goes on between one piece and the
    next, or it would be taken for hung.
    """
    search = subject.search()
    try:
        with subject.at_work(), traced(subject.worker):
            for start, size in _written(subject.worker):
                stop(subject.worker)
                search.look(_peek_at(subject.worker, start, size))
                resume(subject.worker)
                if search.satisfied:
                    break
    except NotAllowed as error:
        return Outcome(False, str(error))
    return found(search)


def registers(subject: Target) -> Outcome:
    """General and vector registers, again and again while it signs."""
    search = Search(subject.planted.limbs)
    words: set[tuple[str, int]] = set()
    try:
        with subject.at_work(), traced(subject.worker):
            for _ in range(STOPS):
                stop(subject.worker)
                words |= search.words(bytes(registers_of(subject.worker)))
                words |= search.words(vector_registers(subject.worker))
                resume(subject.worker)
                time.sleep(0.0005)
    except NotAllowed as error:
        return Outcome(False, str(error))
    return found_words(words, f"{STOPS} stops")


def inject(subject: Target) -> Outcome:
    """Make the worker copy its own memory into a file, by its registers alone."""
    search = subject.search()
    try:
        with subject.at_work(), traced(subject.worker):
            stop(subject.worker)
            search.look(_exfiltrate(subject.worker))
            resume(subject.worker)
    except NotAllowed as error:
        return Outcome(False, str(error))
    return found(search)


def catch_faults(subject: Target) -> Outcome:
    """Make the worker hand over the right to answer its page faults (userfaultfd(2))."""
    try:
        with subject.at_work(), traced(subject.worker):
            stop(subject.worker)
            with Injector(subject.worker, _instruction(subject.worker)) as hijacked:
                theirs = hijacked.call("userfaultfd", os.O_CLOEXEC | os.O_NONBLOCK)
                _answer_faults(_descriptor_of(subject.worker, theirs))
                hijacked.call("close", theirs)
            resume(subject.worker)
    except NotAllowed as error:
        return Outcome(False, str(error))
    return Outcome(True, "its faults could be answered")


def all_threads(subject: Target) -> Outcome:
    """Attach to any thread: one that was forgotten is enough."""
    attached = []
    for thread in threads_of(subject.worker):
        with contextlib.suppress(NotAllowed), traced(thread):
            attached.append(thread)
    return Outcome(bool(attached), f"{len(attached)} of {len(threads_of(subject.worker))} threads")


def strace(subject: Target) -> Outcome:
    """strace -p."""
    _need("strace")
    command = ["strace", "-f", "-p", str(subject.worker), "-o", os.devnull]
    with subject.at_work():
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        said = tracer.stderr.readline().strip()
        tracer.terminate()
        tracer.communicate(timeout=SECONDS)
    return Outcome("attached" in said, _without_numbers(said))


def gcore(subject: Target) -> Outcome:
    """gdb's own core dump, of all memory."""
    path = subject.directory / "gcore"
    said = _gdb(
        subject,
        "set use-coredump-filter off",
        "set dump-excluded-mappings on",
        f"gcore {path}",
    )
    if not path.exists():
        return Outcome(False, said)
    search = subject.search()
    search.look(path.read_bytes())
    path.unlink()
    return found(search)


def checkpoint(subject: Target) -> Outcome:
    """CRIU's dump of the whole process."""
    _need("criu")
    check = subprocess.run(["criu", "check"], capture_output=True, text=True, timeout=SECONDS)
    if check.returncode:
        impossible(f"criu does not work on this kernel: {_last_error(check.stderr)}")
    with tempfile.TemporaryDirectory() as directory:
        command = ["criu", "dump", "--tree", str(subject.worker), "--images-dir", directory]
        command += ["--leave-running", "--shell-job", "--ext-unix-sk", "--log-file", "log"]
        with subject.at_work():
            done = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS)
        search = subject.search()
        for image in Path(directory).glob("*.img"):
            search.look(image.read_bytes())
        said = _last_error(Path(directory, "log").read_text(errors="replace"))
    return found(search, f"criu: {said}" if done.returncode else "")


def gdb_call(subject: Target) -> Outcome:
    """gdb makes the worker call a function."""
    said = _gdb(subject, "call (int)getpid()")
    return Outcome(f"= {subject.worker}" in said, _without_numbers(said.splitlines()[-1]))


def _gdb(subject: Target, *commands: str) -> str:
    _need("gdb")
    arguments = [word for command in commands for word in ("-ex", command)]
    with subject.at_work():
        done = subprocess.run(
            ["gdb", "-p", str(subject.worker), "-batch", "-nx", *arguments],
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
        )
    failures = [line for line in done.stderr.splitlines() if "ptrace" in line or "ermitted" in line]
    return "\n".join([done.stdout.strip(), *failures[:1]]).strip() or "nothing"


def _last_error(log: str) -> str:
    """What gave up, without its place in the program."""
    lines = [line for line in log.splitlines() if "Error (" in line]
    return lines[-1].partition("): ")[2].strip() if lines else "no error"


def _descriptor_of(pid: int, number: int) -> int:
    process = os.pidfd_open(pid)
    try:
        return system_call("pidfd_getfd", process, number, 0)
    finally:
        os.close(process)


def _answer_faults(descriptor: int) -> None:
    """The first word of every user of userfaultfd: which version is spoken (UFFDIO_API)."""
    version = struct.pack("=QQQ", 0xAA, 0, 0)
    try:
        fcntl.ioctl(descriptor, 0xC018AA3F, version)
    finally:
        os.close(descriptor)


def _written(pid: int) -> Iterator[tuple[int, int]]:
    """All writable memory in pieces: where they begin, and their sizes."""
    for region in sorted(regions(pid), key=lambda one: one.name != "[heap]"):
        if region.writable:
            for start in range(region.start, region.end, _MOST_PEEKED):
                yield start, min(_MOST_PEEKED, region.end - start)


def _peek_at(thread: int, start: int, size: int) -> bytes:
    """Word by word; nothing once one is refused."""
    data = bytearray()
    for address in range(start, start + size, 8):
        ctypes.set_errno(0)
        word = LIBC.ptrace(_PEEKDATA, thread, address, None)
        if ctypes.get_errno():
            break
        data += (word % (1 << 64)).to_bytes(8, "little")
    return bytes(data)


def vector_registers(thread: int) -> bytes:
    buffer = ctypes.create_string_buffer(_XSTATE_BYTES)
    vector = IoVec(ctypes.addressof(buffer), _XSTATE_BYTES)
    system_call("ptrace", _GETREGSET, thread, _NT_X86_XSTATE, ctypes.addressof(vector))
    return buffer.raw


def _exfiltrate(pid: int) -> bytes:
    """What the stopped process writes of its own memory when its registers make it."""
    name = next(region.start for region in regions(pid) if region.permissions[0] == "r")
    with Injector(pid, _instruction(pid)) as hijacked:
        descriptor = hijacked.call("memfd_create", name, 0)
        for region in regions(pid):
            if region.writable:
                with contextlib.suppress(OSError):
                    hijacked.call("write", descriptor, region.start, region.size)
        taken = Path(f"/proc/{pid}/fd/{descriptor}").read_bytes()
        hijacked.call("close", descriptor)
    return taken


def _instruction(pid: int) -> int:
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for region in regions(pid):
            if region.executable:
                memory.seek(region.start)
                at = memory.read(region.size).find(this_machine().instruction)
                if at >= 0:
                    return region.start + at
    raise AssertionError("no system call instruction")


def _need(program: str) -> None:
    if shutil.which(program) is None:
        impossible(f"{program} is not installed")


def _without_numbers(text: str) -> str:
    """Without process ids, so that two runs print the same table."""
    return re.sub(r"\d+", "N", text)
