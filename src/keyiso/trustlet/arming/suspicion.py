"""Looking for somebody who is already inside, before anything is worth protecting.

Whoever was there first can have changed the code that arms. What is found here is what does not
hide: a debugger, its breakpoints and the kernel's (uprobes), programs in the kernel that trace.
"""

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from keyiso.trustlet.arming.bpf import (
    OBJ_GET_INFO_BY_FD,
    PROG_GET_FD_BY_ID,
    PROG_GET_NEXT_ID,
    bpf,
)
from keyiso.trustlet.arming.kernel import disturbed, may_not_trace
from keyiso.trustlet.arming.mappings import Region, regions_of
from keyiso.trustlet.arming.process import threads_of, tracer_of

_ID_REQUEST: Final = struct.Struct("=III")
"""Where to start, what came next, flags."""

_TRACING_TYPES: Final = {
    2: "kprobe",
    5: "tracepoint",
    7: "perf_event",
    17: "raw_tracepoint",
    24: "raw_tracepoint_writable",
    26: "tracing",
}
"""Kinds of BPF programs that can read the memory of processes (BPF_PROG_TYPE_*, linux/bpf.h)."""


def check_unwatched(worker: int) -> None:
    """Raise `DisturbedError` when a debugger or a uprobe is at work on a pair.

    To be called by the guardian before it traces the worker.
    """
    for pid in (worker, os.getpid()):
        for thread in threads_of(pid):
            if tracer := tracer_of(thread):
                raise disturbed(
                    f"process {tracer} traces the worker or its guardian",
                    "End the debugger, and let the worker start again.",
                )
    if changed := next(_changed_code(worker, regions_of(worker)), None):
        raise disturbed(
            f"code of the worker is not what its file holds: {changed}",
            "A uprobe or a breakpoint is there, or the file was replaced while it was loaded."
            " Remove it, and let the worker start again.",
        )


def tracing_programs() -> tuple[str, ...] | None:
    """BPF programs in the kernel that can read processes, by kind and id. None: it may not be
    asked (CAP_SYS_ADMIN), or the kernel has no BPF.
    """
    try:
        numbers = tuple(_programs())
    except OSError:
        return None
    kinds = ((number, _TRACING_TYPES.get(_type_of_program(number))) for number in numbers)
    return tuple(f"{kind} {number}" for number, kind in kinds if kind is not None)


def _changed_code(pid: int, regions: Iterable[Region]) -> Iterator[Region]:
    """Executable memory that differs from its file: the kernel puts a uprobe's instruction there
    as a debugger puts a breakpoint.
    """
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # who may not trace a process may not read it either
        raise may_not_trace("the worker") from None
    try:
        for region in regions:
            if region.name == "[uprobes]" or (
                region.executable
                and region.inode
                and os.pread(memory, region.size, region.start) != _content(region)
            ):
                yield region
    finally:
        os.close(memory)


def _content(region: Region) -> bytes:
    """What a region would hold if it were mapped now; beyond its end a file goes on with zeros."""
    try:
        file = os.open(region.name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(file, region.size, region.offset).ljust(region.size, b"\0")
    finally:
        os.close(file)


def _programs() -> Iterator[int]:
    """The ids of all programs, from one to the next."""
    request = ctypes.create_string_buffer(_ID_REQUEST.size)
    number = 0
    while True:
        _ID_REQUEST.pack_into(request, 0, number, 0, 0)
        try:
            bpf(PROG_GET_NEXT_ID, request)
        except FileNotFoundError:
            return
        _, number, _ = _ID_REQUEST.unpack_from(request)
        yield number


def _type_of_program(number: int) -> int:
    """Its kind; 0 when it has gone meanwhile."""
    try:
        program = bpf(PROG_GET_FD_BY_ID, _ID_REQUEST.pack(number, 0, 0))
    except FileNotFoundError:
        return 0
    try:
        info = ctypes.create_string_buffer(8)  # struct bpf_prog_info: type, id
        bpf(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", program, len(info), ctypes.addressof(info)))
        kind: int = struct.unpack_from("=I", info)[0]
        return kind
    finally:
        os.close(program)
