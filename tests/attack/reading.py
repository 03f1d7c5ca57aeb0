"""Attacks that read or write a process from outside, without tracing it."""

import contextlib
import ctypes
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from keyiso.trustlet.arming.kernel import system_call
from keyiso.trustlet.arming.mappings import Region, regions_of
from keyiso.trustlet.arming.process import threads_of
from tests.attack.outcome import Outcome, found
from tests.attack.target import Target

SCANS = 10
"""How often memory is read while the worker uses its keys."""

_PROC_FILES = (
    *("environ", "cmdline", "auxv", "comm", "stack", "syscall", "wchan", "stat", "statm"),
    *("status", "maps", "smaps", "numa_maps", "limits", "io", "sched", "personality", "cgroup"),
)


class IoVec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def regions(pid: int) -> list[Region]:
    """What a process can have written its secrets to, and everything else that it has."""
    return [region for region in regions_of(pid) if not region.of_the_kernel]


def read_proc_mem(subject: Target) -> Outcome:
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


def read_with_process_vm_readv(subject: Target) -> Outcome:
    """Read by process_vm_readv(2)."""
    search = subject.search()
    with subject.at_work():
        for region in regions(subject.worker):
            search.look(_read_vm(subject.worker, region))
    return found(search)


def write_proc_mem(subject: Target) -> Outcome:
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


def write_with_process_vm_writev(subject: Target) -> Outcome:
    """Write by process_vm_writev(2): one byte of each writable mapping."""
    writable = [region for region in regions(subject.worker) if region.writable]
    taken = sum(_write_vm(subject.worker, region) for region in writable)
    return Outcome(taken > 0, f"{taken} of {len(writable)} writable mappings took a byte")


def take_descriptors(subject: Target) -> Outcome:
    """Take every descriptor (pidfd_getfd(2)), read it and map it."""
    return _search_files(subject, _descriptors)


def open_descriptors(subject: Target) -> Outcome:
    """Open every descriptor anew through /proc/PID/fd, read it and map it."""
    return _search_files(subject, _descriptors_by_path)


def open_mapped_files(subject: Target) -> Outcome:
    """Open every mapped file through /proc/PID/map_files, read it and map it."""
    return _search_files(subject, _mapped_files)


def change_sealed_code(subject: Target) -> Outcome:
    """Open the file that the worker's code is mapped from, and write it."""
    taken = 0
    for descriptor in _mapped_files(subject.worker, os.O_RDWR):
        with contextlib.suppress(OSError):
            taken += os.pwrite(descriptor, os.pread(descriptor, 1, 0), 0)
        os.close(descriptor)
    return Outcome(taken > 0, f"{taken} mapped files could be written")


def read_proc_files(subject: Target) -> Outcome:
    """Read the other files of /proc/PID, of each thread: environment, arguments, auxiliary vector,
    kernel stack, what it waits for, the system call it is in and so on.
    """
    search = subject.search()
    with subject.at_work():
        for pid in subject.processes:
            for thread in threads_of(pid):
                for name in _PROC_FILES:
                    with contextlib.suppress(OSError):
                        search.look(Path(f"/proc/{pid}/task/{thread}/{name}").read_bytes())
    return found(search)


def read_guardian(subject: Target) -> Outcome:
    """Read the guardian's memory, which anybody may who is root: it must have no secret."""
    search = subject.search()
    with subject.at_work(), _memory(subject.guardian, os.O_RDONLY) as memory:
        for region in regions(subject.guardian):
            with contextlib.suppress(OSError):
                search.look(os.pread(memory, region.size, region.start))
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
    size = _transfer("process_vm_readv", pid, buffer, region.start)
    return buffer.raw[:size]


def _write_vm(pid: int, region: Region) -> int:
    same = ctypes.create_string_buffer(
        _read_vm(pid, Region(region.start, region.start + 1, "", "")), 1
    )
    return _transfer("process_vm_writev", pid, same, region.start)


def _transfer(how: str, pid: int, buffer: "ctypes.Array[ctypes.c_char]", address: int) -> int:
    """How many bytes went, from or to an address."""
    local = IoVec(ctypes.addressof(buffer), len(buffer))
    remote = IoVec(address, len(buffer))
    try:
        return system_call(how, pid, ctypes.addressof(local), 1, ctypes.addressof(remote), 1, 0)
    except OSError:
        return 0


def _search_files(subject: Target, files: Callable[[int], Iterator[int]]) -> Outcome:
    """Search the files that are open in a worker and its guardian, each of them once."""
    search = subject.search()
    seen = set()
    for pid in subject.processes:
        for descriptor in files(pid):
            status = os.fstat(descriptor)
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                search.look(_content(descriptor))
            os.close(descriptor)
    return found(search, f"{len(seen)} files taken")


def _descriptors(pid: int) -> Iterator[int]:
    process = os.pidfd_open(pid)
    try:
        for number in map(int, os.listdir(f"/proc/{pid}/fd")):
            with contextlib.suppress(OSError):
                yield system_call("pidfd_getfd", process, number, 0)
    finally:
        os.close(process)


def _descriptors_by_path(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            yield os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


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
        with (
            contextlib.suppress(OSError),
            mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped,
        ):
            return bytes(mapped)
    return b""
