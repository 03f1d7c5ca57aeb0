"""Attacks on the guardian, and on what remains when it is gone."""

import contextlib
import os
import platform
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

from keyiso.trustlet.arming.process import threads_of, tracer_of
from keyiso.trustlet.arming.ptrace import WALL, registers_of, resume
from tests.attack.outcome import Outcome, found, found_words, impossible
from tests.attack.reading import regions
from tests.attack.search import Search
from tests.attack.subject import SECONDS, Subject, is_alive, wait_until
from tests.attack.tracing import LIBC, SEIZE, NotAllowed, traced, vector_registers

_TRACEEXIT = 0x40
_EVENT_EXIT = 6


def take_over_guardian(subject: Subject) -> Outcome:
    """Trace the guardian: who does can make it let the worker go."""
    try:
        with traced(subject.guardian):
            return Outcome(True, "the guardian was traced")
    except NotAllowed as error:
        return Outcome(False, str(error))


def overwrite_guardian(subject: Subject) -> Outcome:
    """Write other code over the guardian's, by /proc/PID/mem: to interrupt and detach the worker.

    The guardian is an ordinary process. Its memory takes the code; what the code may do is left to
    seccomp.
    """
    if platform.machine() != "x86_64":
        impossible("the code is for x86-64")
    at = int(Path(f"/proc/{subject.guardian}/syscall").read_text().split()[-1], 16)
    with open(f"/proc/{subject.guardian}/mem", "r+b", 0) as memory:
        memory.seek(at)
        memory.write(_ptrace_calls(subject.worker))
    os.kill(subject.guardian, signal.SIGCHLD)  # it wakes up, and runs what was written
    free = wait_until(lambda: not is_alive(subject.worker) or not tracer_of(subject.worker))
    freed = free and is_alive(subject.worker) and not is_alive(subject.guardian)
    return Outcome(freed, f"its code was replaced; the worker is {_state(subject)}")


def race_for_registers(subject: Subject) -> Outcome:
    """Kill the guardian and be the worker's next tracer before the kernel has killed that too.

    A thread that ends can be stopped once more at its exit, with the registers that it had.
    """
    search = Search(subject.planted.limbs)
    words: set[tuple[str, int]] = set()
    stops = 0
    with subject.at_work():
        subject.use_keys()
        os.kill(subject.guardian, signal.SIGKILL)
        for registers in _exit_stops(subject.worker):
            stops += 1
            words |= search.words(registers)
    subject.wait_for_end()
    return found_words(words, f"{stops} threads caught at their exit")


def read_after_guardian(subject: Subject) -> Outcome:
    """Kill the guardian and read the worker's memory while it lasts."""
    search = subject.search()
    writable = [region for region in regions(subject.worker) if region.writable]
    with subject.at_work(), open(f"/proc/{subject.worker}/mem", "rb", 0) as memory:
        os.kill(subject.guardian, signal.SIGKILL)
        while is_alive(subject.worker):
            for region in writable:
                with contextlib.suppress(OSError, ValueError):
                    search.look(os.pread(memory.fileno(), region.size, region.start))
    return found(search)


def _exit_stops(pid: int) -> Iterator[bytes]:
    """The registers of each thread that was caught, as long as the process lasts."""
    left = set(threads_of(pid))
    tries = 0
    while left and (tries % 1000 or is_alive(pid)):
        tries += 1
        # The bare call, and no exception: there is little time.
        for thread in tuple(left):
            if LIBC.ptrace(SEIZE, thread, None, _TRACEEXIT) == 0:
                left.discard(thread)
                _, status = os.waitpid(thread, WALL)
                if status >> 16 == _EVENT_EXIT:
                    yield bytes(registers_of(thread)) + vector_registers(thread)
                    resume(thread)


def _ptrace_calls(worker: int) -> bytes:
    """PTRACE_INTERRUPT and then PTRACE_DETACH of the worker, over and over."""
    code = b""
    for request in (0x4207, 17):
        code += b"\xb8" + struct.pack("<I", 101)  # mov eax, SYS_ptrace
        code += b"\xbf" + struct.pack("<I", request)  # mov edi, request
        code += b"\xbe" + struct.pack("<I", worker)  # mov esi, worker
        code += b"\x31\xd2\x4d\x31\xd2\x0f\x05"  # xor edx, edx; xor r10, r10; syscall
    return code + b"\xeb" + struct.pack("<b", -len(code) - 2)  # jmp to the beginning


def _state(subject: Subject) -> str:
    if not wait_until(lambda: not subject.alive, SECONDS):
        return "guarded"
    return "dead" if wait_until(lambda: not is_alive(subject.worker)) else "free"
