"""Attacks that read or write a process from outside, without tracing it."""

import contextlib
import ctypes
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from keyiso.trustlet.arming.kernel import system_call
from keyiso.trustlet.arming.mappings import Region, regions_of
from tests.attack.outcome import Outcome, found
from tests.attack.subject import Subject

SCANS = 10
"""How often memory is read while the worker uses its keys."""


class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def regions(pid: int) -> list[Region]:
    """What a process can have written its secrets to, and everything else that it has."""
    return [region for region in regions_of(pid) if not region.of_the_kernel]


def read_proc_mem(subject: Subject) -> Outcome:
    """Read /proc/PID/mem: all of it once, what is written again and again."""
    search = subject.search()
    everything = regions(subject.worker)
    with subject.at_work(), _memory(subject.worker, os.O_RDONLY) as memory:
        for scan in range(SCANS):
            for region in everything:
                if region.writable or not scan:
                    with contextlib.suppress(OSError):
                        search.look(os.pread(memory, region.size, region.start))
    return found(search)


def read_with_process_vm_readv(subject: Subject) -> Outcome:
    """Read by process_vm_readv(2)."""
    search = subject.search()
    with subject.at_work():
        for region in regions(subject.worker):
            search.look(_read_vm(subject.worker, region))
    return found(search)


def write_proc_mem(subject: Subject) -> Outcome:
    """Write /proc/PID/mem: one byte in each mapping, the same where it can be read."""
    taken = 0
    with _memory(subject.worker, os.O_RDWR) as memory:
        for region in regions(subject.worker):
            same = b"\0"
            with contextlib.suppress(OSError):
                same = os.pread(memory, 1, region.start)
            with contextlib.suppress(OSError):
                taken += os.pwrite(memory, same, region.start)
    return Outcome(taken > 0, f"{taken} of {len(regions(subject.worker))} mappings took a byte")


def take_descriptors(subject: Subject) -> Outcome:
    """Take every descriptor (pidfd_getfd(2)) and every mapped file (map_files) and map them."""
    search = subject.search()
    seen = set()
    for descriptor in (*_descriptors(subject.worker), *_mapped_files(subject.worker)):
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            search.look(_content(descriptor))
        os.close(descriptor)
    return found(search)


def change_sealed_code(subject: Subject) -> Outcome:
    """Open the file that the worker's code is mapped from, and write it."""
    taken = 0
    for descriptor in _mapped_files(subject.worker, os.O_RDWR):
        with contextlib.suppress(OSError):
            taken += os.pwrite(descriptor, os.pread(descriptor, 1, 0), 0)
        os.close(descriptor)
    return Outcome(taken > 0, f"{taken} mapped files could be written")


def read_proc_files(subject: Subject) -> Outcome:
    """Read the other files of /proc/PID: environment, arguments, kernel stack and so on."""
    search = subject.search()
    with subject.at_work():
        for name in ("environ", "cmdline", "auxv", "comm", "stack", "syscall", "wchan", "stat"):
            with contextlib.suppress(OSError):
                search.look(Path(f"/proc/{subject.worker}/{name}").read_bytes())
    return found(search)


@contextlib.contextmanager
def _memory(pid: int, how: int) -> Iterator[int]:
    descriptor = os.open(f"/proc/{pid}/mem", how | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_vm(pid: int, region: Region) -> bytes:
    buffer = ctypes.create_string_buffer(region.size)
    local = IoVec(ctypes.addressof(buffer), region.size)
    remote = IoVec(region.start, region.size)
    try:
        size = system_call(
            "process_vm_readv", pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0
        )
    except OSError:
        return b""
    return buffer.raw[:size]


def _descriptors(pid: int) -> Iterator[int]:
    process = os.pidfd_open(pid)
    try:
        for number in map(int, os.listdir(f"/proc/{pid}/fd")):
            with contextlib.suppress(OSError):
                yield system_call("pidfd_getfd", process, number, 0)
    finally:
        os.close(process)


def _mapped_files(pid: int, how: int = os.O_RDONLY) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/map_files").iterdir():
        with contextlib.suppress(OSError):
            if "memfd" in os.readlink(path) or "secretmem" in os.readlink(path):
                yield os.open(path, how | os.O_CLOEXEC)


def _content(descriptor: int) -> bytes:
    """What is in a file, read or mapped; a socket or an epoll set has nothing."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return b""
    try:
        return os.pread(descriptor, status.st_size, 0)
    except OSError:
        with contextlib.suppress(OSError), mmap.mmap(descriptor, 0) as mapped:
            return bytes(mapped)
    return b""
