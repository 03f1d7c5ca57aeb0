"""What differs from one kind of processor to the next. Each is one file; today: x86_64.py."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self


class Registers(ctypes.Structure):
    """The registers of a stopped thread, as PTRACE_GETREGSET gives them (NT_PRSTATUS)."""

    @property
    def result(self) -> int:
        """What the system call that has just ended returned; below zero an errno."""
        raise NotImplementedError

    def calling(self, instruction: int, number: int, arguments: Sequence[int]) -> Self:
        """The same registers, about to make a system call by the instruction at an address."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of processor."""

    registers: type[Registers]
    instruction: bytes
    """The instruction that makes a system call."""
    audit_architecture: int
    """What seccomp calls the machine (AUDIT_ARCH_* of linux/audit.h)."""
    foreign_numbers: int
    """System call numbers from here on belong to another ABI of the same processor."""
    numbers: Mapping[str, int]
    """System calls by name. A name is missing where the machine has no such call."""
