"""What differs from one kind of processor to the next. Each is one file; today: x86_64.py."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

_WORD = 1 << 64


class Registers(ctypes.Structure):
    """The registers of a stopped thread, as PTRACE_GETREGSET gives them (NT_PRSTATUS).

    A kind of processor says which ones there are, and which of them do what in a system call.
    """

    instruction_pointer: ClassVar[str]
    number: ClassVar[str]
    """Which system call it is to be."""
    arguments: ClassVar[Sequence[str]]
    returned: ClassVar[str]
    outside_of_a_call: ClassVar[Mapping[str, int]]
    """What tells the kernel that there is no system call to restart."""

    @property
    def result(self) -> int:
        """What the system call that has just ended returned; below zero an errno."""
        value: int = getattr(self, self.returned)
        return value - _WORD if value >> 63 else value

    def calling(self, instruction: int, number: int, arguments: Sequence[int]) -> Self:
        """The same registers, about to make a system call by the instruction at an address."""
        made = type(self).from_buffer_copy(self)
        values = {
            self.instruction_pointer: instruction,
            self.number: number,
            **self.outside_of_a_call,
            **dict(zip(self.arguments, arguments, strict=False)),
        }
        for register, value in values.items():
            setattr(made, register, value % _WORD)
        return made


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
