"""Attacks on the guardian, and on what remains when it is gone."""

import contextlib
import dataclasses
import os
import platform
import signal
import struct
import subprocess
import sys
from pathlib import Path

from keyiso.trustlet.arming.guardian import STANDSTILL_SECONDS
from tests.attack.outcome import Outcome, found, found_words, impossible
from tests.attack.reading import regions
from tests.attack.search import Search
from tests.attack.target import SECONDS, Target, is_alive, wait_until
from tests.attack.tracing import NotAllowed, traced


def take_over_guardian(subject: Target) -> Outcome:
    """Trace the guardian: who does can make it let the worker go."""
    try:
        with traced(subject.guardian):
            return Outcome(True, "the guardian was traced")
    except NotAllowed as error:
        return Outcome(False, str(error))


def overwrite_guardian(subject: Target) -> Outcome:
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
    assert wait_until(lambda: not is_alive(subject.guardian)), "the code was not run"
    freed = not wait_until(lambda: not is_alive(subject.worker), STANDSTILL_SECONDS)
    return Outcome(freed, f"its code was replaced; the worker is {'free' if freed else 'dead'}")


def race_for_registers(subject: Target) -> Outcome:
    """Kill the guardian and be the worker's next tracer before the kernel has killed that too.

    A thread that ends can be stopped once more at its exit, with the registers that it had.
    Whoever sees them has succeeded, whether or not a word of a secret was there at that moment.
    """
    search = Search(subject.planted.limbs)
    command = (sys.executable, "-m", "tests.attack.racer")
    with subject.at_work():
        raced = subprocess.run(
            [*command, str(subject.guardian), str(subject.worker)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert raced.returncode == 0, raced.stderr
    subject.wait_for_end()
    caught = [search.words(bytes.fromhex(line)) for line in raced.stdout.splitlines()]
    outcome = found_words(set().union(*caught), f"{len(caught)} threads caught at their exit")
    return dataclasses.replace(outcome, succeeded=bool(caught))


def read_after_guardian(subject: Target) -> Outcome:
    """Kill the guardian and read the worker's memory while it lasts."""
    search = subject.search()
    writable = [region for region in regions(subject.worker) if region.writable]
    tries = 0
    with subject.at_work(), open(f"/proc/{subject.worker}/mem", "rb", 0) as memory:
        os.kill(subject.guardian, signal.SIGKILL)
        while is_alive(subject.worker):
            for region in writable:
                tries += 1
                with contextlib.suppress(OSError, ValueError):
                    search.look(os.pread(memory.fileno(), region.size, region.start))
    return found(search, f"{tries} tries, {search.searched} bytes read")


def _ptrace_calls(worker: int) -> bytes:
    """PTRACE_INTERRUPT and then PTRACE_DETACH of the worker, over and over."""
    code = b""
    for request in (0x4207, 17):
        code += b"\xb8" + struct.pack("<I", 101)  # mov eax, SYS_ptrace
        code += b"\xbf" + struct.pack("<I", request)  # mov edi, request
        code += b"\xbe" + struct.pack("<I", worker)  # mov esi, worker
        code += b"\x31\xd2\x4d\x31\xd2\x0f\x05"  # xor edx, edx; xor r10, r10; syscall
    return code + b"\xeb" + struct.pack("<b", -len(code) - 2)  # jmp to the beginning
