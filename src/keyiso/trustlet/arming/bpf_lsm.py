"""A shield in the kernel: small programs that refuse what reads processes (BPF LSM).

It is the one thing that stops root's BPF programs and perf, and it stops them for everybody on the
machine as long as it is up: systemd, Cilium and every profiler meet EPERM. So it is for machines
whose owner said so, and nothing raises it by itself. What it does not stop: kernel modules, and
whoever ends the process that holds it, which is why a pair must end when that process does.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from keyiso.closeable import Closeable
from keyiso.errors import NCryptError
from keyiso.required_shields import BPF_LSM
from keyiso.trustlet.arming.bpf import PROG_LOAD, RAW_TRACEPOINT_OPEN, bpf, instruction
from keyiso.trustlet.arming.btf import KERNEL, KernelTypes
from keyiso.trustlet.arming.shields import Finding, no, unknown, yes

_PTRACE: Final = "bpf_lsm_ptrace_access_check"
_GLOBAL: Final = ("bpf_lsm_perf_event_open", "bpf_lsm_locked_down", "bpf_lsm_bpf")
"""Hooks that are refused to everybody. The one of bpf(2) comes last: it ends our own use of it."""

_LIST: Final = Path("/sys/kernel/security/lsm")

_TYPE_LSM: Final = 29
_ATTACH_LSM: Final = 27
_EPERM: Final = -1


class BpfLsmShield(Closeable):
    """Refuses access to some processes, and BPF, perf and what lockdown knows to everybody.

    It is up as long as a process has its descriptors open. Raises `OSError` where the kernel
    refuses, `VbsUnavailableError` where it lacks a hook.
    """

    def __init__(self, pids: Collection[int]) -> None:
        types = KernelTypes(KERNEL.read_bytes())
        hooks = types.functions((_PTRACE, *_GLOBAL))
        self._links: list[int] = []
        try:
            refuse = refusal_for(sorted(pids), types.offset("task_struct", "tgid"))
            self._links.append(_attached(refuse, hooks[_PTRACE]))
            for name in _GLOBAL:
                self._links.append(_attached(refusal(), hooks[name]))
        except BaseException:
            self.close()
            raise

    def handed_on(self) -> tuple[int, ...]:
        """The descriptors that hold it up, for the program that this process becomes."""
        for link in self._links:
            os.set_inheritable(link, True)
        links, self._links = tuple(self._links), []
        return links

    def close(self) -> None:
        """Take it down."""
        while self._links:
            os.close(self._links.pop())


def probe_bpf_lsm() -> Finding:
    """Whether the shield could be raised here: by attaching a program that allows everything."""
    with contextlib.suppress(OSError):
        if "bpf" not in _LIST.read_text(encoding="ascii").strip().split(","):
            return no(BPF_LSM, "the kernel was booted without the bpf module (lsm=…,bpf)")
    try:
        hooks = KernelTypes(KERNEL.read_bytes()).functions((_PTRACE,))
        os.close(_attached(_returning(0), hooks[_PTRACE]))
    except FileNotFoundError:
        return no(BPF_LSM, "the kernel does not describe its types (CONFIG_DEBUG_INFO_BTF)")
    except PermissionError as error:
        if os.geteuid() != 0:
            return unknown(BPF_LSM, "only root may try")
        return no(BPF_LSM, f"the kernel refuses such programs: {error.strerror}")
    except (OSError, NCryptError) as error:
        return no(BPF_LSM, f"the kernel refuses such programs: {error}")
    return yes(BPF_LSM, "a program that allows everything was attached")


def refusal() -> bytes:
    """A program that refuses."""
    return _returning(_EPERM)


def refusal_for(pids: Sequence[int], tgid_offset: int) -> bytes:
    """A program for ``ptrace_access_check(child, mode)`` that refuses when the child is one of
    these processes.
    """
    code = [
        instruction(0x79, 1, 1, 0),  # r1 = the first argument, a task_struct
        instruction(0x61, 1, 1, tgid_offset),  # r1 = its process id
    ]
    for index, pid in enumerate(pids):
        refuse = len(pids) - index - 1 + len(_returning(0)) // 8
        code.append(instruction(0x15, 1, 0, refuse, pid))
    return b"".join((*code, _returning(0), _returning(_EPERM)))


def _returning(value: int) -> bytes:
    return instruction(0xB7, 0, value=value) + instruction(0x95)


def _attached(code: bytes, hook: int) -> int:
    """A link of a loaded program to a hook."""
    program = _load(code, hook)
    try:
        return bpf(RAW_TRACEPOINT_OPEN, struct.pack("=QII", 0, program, 0))
    finally:
        os.close(program)


def _load(code: bytes, hook: int) -> int:
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16sIIIIQIIQII",
        *(_TYPE_LSM, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(licence)),
        *(0, 0, 0, 0, 0),  # no log, no version, no flags
        *(b"keyiso", 0, _ATTACH_LSM),
        *(0, 0, 0, 0, 0, 0, 0, hook),
    )
    return bpf(PROG_LOAD, attributes)
