"""The probes of a worker on itself, while it is being armed.

Each does what an enemy would do, as far as a process can do that to itself, and is content when
it fails.
"""

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Callable, Sequence
from typing import Final

from keyiso.trustlet.arming.kernel import dumpable, system_call
from keyiso.trustlet.arming.mappings import Region
from keyiso.trustlet.arming.process import status_of, threads_of, tracer_of
from keyiso.trustlet.arming.shields import (
    GUARDED,
    NO_CORE,
    REHOMED,
    SECCOMP,
    SECRETMEM,
    Finding,
    no,
    yes,
)

_FILTERED: Final = "2"
"""The field Seccomp of a process that is under a filter."""


def probe_memory(regions: Sequence[Region]) -> tuple[Finding, Finding]:
    """Read and write every mapping through /proc/self/mem: the way of the kernel that all tools
    take, which forces itself into private pages that the process itself cannot write.
    """
    memory = os.open("/proc/self/mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        ours = [region for region in regions if not region.of_the_kernel]
        return probe_reading(memory, ours), probe_writing(memory, ours)
    finally:
        os.close(memory)


def probe_guard(guardian: int, watcher: int) -> Finding:
    """Both tracer's places are taken, and the guardian can do no more than guard."""
    for thread in threads_of("self"):
        if tracer_of(thread) != guardian:
            return no(GUARDED, f"thread {thread} is not traced by the guardian")
    if tracer_of(guardian) != watcher:
        return no(GUARDED, "the guardian is not traced by this worker")
    if status_of(guardian, "Seccomp") != _FILTERED:
        return no(GUARDED, "the guardian has not given up its system calls")
    return yes(GUARDED, f"traced by {guardian}, which is traced by thread {watcher} of this worker")


def probe_core() -> Finding:
    """Nothing would be written if this process crashed."""
    if dumpable():
        return no(NO_CORE, "the process is dumpable")
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        return no(NO_CORE, "RLIMIT_CORE is not 0")
    return yes(NO_CORE, "not dumpable, and RLIMIT_CORE is 0")


def probe_seccomp() -> Finding:
    """Try to open, to map and to grow. To be called last, under the filter."""
    for what, refusal, attempt, *arguments in (
        ("opening a file", errno.EPERM, os.open, "/proc/self/mem", os.O_RDONLY),
        ("making a socket", errno.EPERM, socket.socket),
        ("signalling others", errno.EPERM, os.kill, os.getppid(), 0),
        ("mapping memory", errno.ENOMEM, system_call, "mmap", 0, 4096, 3, 0x22, -1, 0),
    ):
        if _errno_of(attempt, *arguments) != refusal:
            return no(SECCOMP, f"{what} was not refused")
    if system_call("brk", 0) != 0:
        return no(SECCOMP, "the heap could grow")
    return yes(SECCOMP, "opening, mapping, connecting and signalling were refused")


def probe_reading(memory: int, regions: Sequence[Region]) -> Finding:
    """Read writable memory through a descriptor of /proc/PID/mem."""
    writable = [region for region in regions if region.writable]
    for region in writable:
        if not region.secret or _works(os.pread, memory, 1, region.start):
            return no(SECRETMEM, f"can be read from outside: {region}")
    size = sum(region.size for region in writable) / (1 << 20)
    return yes(SECRETMEM, f"{size:.0f} MiB of writable memory, none of it readable from outside")


def probe_writing(memory: int, regions: Sequence[Region]) -> Finding:
    """Write a byte of all memory, the same where it can be read."""
    for region in regions:
        same = b"\0"
        with contextlib.suppress(OSError):
            same = os.pread(memory, 1, region.start)
        if not region.shared or _works(os.pwrite, memory, same, region.start):
            return no(REHOMED, f"can be written from outside: {region}")
    return yes(REHOMED, f"{len(regions)} mappings, all shared, none of them writable from outside")


def _works(attempt: Callable[..., object], *arguments: object) -> bool:
    return _errno_of(attempt, *arguments) is None


def _errno_of(attempt: Callable[..., object], *arguments: object) -> int | None:
    """How an attempt failed; None when it did not."""
    try:
        attempt(*arguments)
    except OSError as error:
        return error.errno
    return None
