"""Attacks from inside the kernel: uprobes, BPF programs, perf. A capable root has all of them."""

import contextlib
import ctypes
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keyiso.trustlet.arming.bpf import PROG_LOAD, RAW_TRACEPOINT_OPEN, bpf, instruction
from keyiso.trustlet.arming.kernel import system_call
from keyiso.trustlet.arming.mappings import regions_of
from tests.attack.outcome import Outcome, found, found_words, impossible
from tests.attack.reading import regions
from tests.attack.search import Search
from tests.attack.target import SECONDS, Target

_UPROBE = Path("/sys/bus/event_source/devices/uprobe/type")
_PERF_ATTR = struct.Struct("=IIQQQQQIIQQ40x")
"""perf_event_attr, version 5: type, size, config, period, sample type, read format, flags,
wake-up, breakpoint type, config1, config2, and what is not needed."""

_BPF_MAP_CREATE = 0
_BPF_MAP_LOOKUP = 1
_ARRAY = 2
_RAW_TRACEPOINT = 17

_PIECE_BYTES = 1 << 20


def uprobe(subject: Target) -> Outcome:
    """A breakpoint of the kernel on ``send`` of the C library's file, which every answer passes."""
    if not _UPROBE.exists():
        impossible("this kernel has no uprobes")
    event = open_uprobe(subject.worker, ctypes.CDLL(None).send)
    try:
        subject.use_keys()
        (count,) = struct.unpack("=Q", os.read(event, 8))
    finally:
        os.close(event)
    return Outcome(count > 0, f"it fired {count} times")


def open_uprobe(pid: int, function: Any) -> int:
    """An event that counts how often a process (0: this one) comes by a function of a library."""
    library, offset = _place_of(function)
    path = ctypes.create_string_buffer(library.encode())
    attributes = ctypes.create_string_buffer(
        _PERF_ATTR.pack(
            *(int(_UPROBE.read_text()), _PERF_ATTR.size, 0, 0, 0, 0, 0, 0, 0),
            *(ctypes.addressof(path), offset),
        )
    )
    return system_call("perf_event_open", ctypes.addressof(attributes), pid, -1, -1, 0)


def bpf_probe_read(subject: Target) -> Outcome:
    """A BPF program at the entry of system calls copies the worker's memory
    (bpf_probe_read_user)."""
    search = subject.search()
    for region in regions(subject.worker):
        for start in range(region.start, region.end, _PIECE_BYTES):
            if region.writable and not search.satisfied:
                size = min(_PIECE_BYTES, region.end - start)
                search.look(_copied_by_program(subject, start, size))
    return found(search)


def perf_samples(subject: Target) -> Outcome:
    """perf record: registers and stack at each tick of a clock."""
    if shutil.which("perf") is None:
        impossible("perf is not installed")
    path = subject.directory / "samples"
    names = "ax,bx,cx,dx,si,di,bp,r8,r9,r10,r11,r12,r13,r14,r15"
    command = ["perf", "record", "-q", "-F", "2000", "-e", "cpu-clock:u", f"--user-regs={names}"]
    command += ["--call-graph", "dwarf,8192", "-o", str(path), "-p", str(subject.worker)]
    with subject.at_work():
        done = subprocess.run(
            [*command, "--", "sleep", "1"], capture_output=True, text=True, timeout=SECONDS
        )
    if not path.exists():
        impossible(f"perf does not record here: {done.stderr.strip()[:80]}")
    data = path.read_bytes()
    path.unlink()
    search = Search(subject.planted.forms)
    search.look(data)
    words = Search(subject.planted.limbs).words(data)
    if search.found:
        return found(search)
    return found_words(words, f"{len(data) >> 20} MiB of samples")


def _place_of(function: Any) -> tuple[str, int]:
    """The file that a function of this process comes from, and the offset there."""
    address = ctypes.cast(function, ctypes.c_void_p).value or 0
    for region in regions_of("self"):
        if region.start <= address < region.end:
            return region.name, address - region.start + region.offset
    raise AssertionError("the function is nowhere")


def _copied_by_program(subject: Target, start: int, size: int) -> bytes:
    """What a program sees at an address when the worker next makes a system call."""
    with attached_program(subject.worker, start, size) as copy:
        subject.use_keys()
        return _value(copy, size)


@contextlib.contextmanager
def attached_program(pid: int, start: int, size: int) -> Iterator[int]:
    """A program that copies memory of a process whenever it makes a system call; gives the map
    that it copies into.
    """
    with contextlib.ExitStack() as stack:

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        copy = keep(_bpf(_BPF_MAP_CREATE, struct.pack("=IIII", _ARRAY, 4, size, 1)))
        program = keep(_load(_copying_program(copy, pid, start, size)))
        name = ctypes.create_string_buffer(b"sys_enter")
        attributes = struct.pack("=QII", ctypes.addressof(name), program, 0)
        keep(_bpf(RAW_TRACEPOINT_OPEN, attributes))
        yield copy


def _bpf(command: int, attributes: bytes) -> int:
    try:
        return bpf(command, attributes)
    except OSError as error:
        return impossible(f"bpf(2) is refused here: {error.strerror}")


def _load(code: bytes) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    return _bpf(
        PROG_LOAD,
        struct.pack(
            "=IIQQIIQI",
            *(_RAW_TRACEPOINT, len(code) // 8, ctypes.addressof(instructions)),
            *(ctypes.addressof(licence), 0, 0, 0, 0),
        ),
    )


def _value(copy: int, size: int) -> bytes:
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(size)
    _bpf(
        _BPF_MAP_LOOKUP,
        struct.pack("=IxxxxQQQ", copy, ctypes.addressof(key), ctypes.addressof(value), 0),
    )
    return value.raw


def _copying_program(copy: int, pid: int, start: int, size: int) -> bytes:
    """In a process, copy so many bytes from an address into the one entry of a map."""

    def load_64(to: int, value: int, kind: int = 0) -> bytes:
        return instruction(0x18, to, kind, 0, value) + instruction(0, value=value >> 32)

    copying = [
        load_64(1, copy, 1),  # r1 = the map
        instruction(0x62, 10, 0, -4, 0),  # key 0, on the stack
        instruction(0xBF, 2, 10),
        instruction(0x07, 2, value=-4),  # r2 = &key
        instruction(0x85, value=1),  # map_lookup_elem
        instruction(0x15, 0, 0, 6, 0),  # none: the end
        instruction(0xBF, 1, 0),  # r1 = the entry
        instruction(0xB7, 2, value=size),
        load_64(3, start),
        instruction(0x85, value=112),  # probe_read_user
        instruction(0xB7, 0),
    ]
    length = sum(map(len, copying)) // 8
    return b"".join(
        [
            instruction(0x85, value=14),  # get_current_pid_tgid
            instruction(0x77, 0, value=32),
            instruction(0x55, 0, 0, length, pid),  # another process: the end
            *copying,
            instruction(0xB7, 0),
            instruction(0x95),
        ]
    )
