"""Giving up system calls (seccomp(2)): a small assembler for tables of rules.

A table names what a process may still do; everything else meets the default. The kernel runs the
assembled program (classic BPF, linux/filter.h) at every system call, and nobody who does not trace
the thread can take it off again.
"""

import ctypes
import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from keyiso.trustlet.arming.kernel import system_call
from keyiso.trustlet.arming.machine import Machine

_SET_MODE_FILTER: Final = 1
_FLAG_TSYNC: Final = 1

_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
_ALLOW: Final = 0x7FFF0000

# struct seccomp_data: u32 number, u32 architecture, u64 instruction pointer, u64 arguments[6].
_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_ARGUMENTS_AT: Final = 16
_ARGUMENT_BYTES: Final = 8

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_NOT_BELOW: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_INSTRUCTION: Final = struct.Struct("HBBI")

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Action:
    """What happens to a system call."""

    value: int
    """What the filter returns."""
    description: str

    def __str__(self) -> str:
        return self.description


ALLOW: Final = Action(_ALLOW, "allowed")
KILL: Final = Action(_KILL_PROCESS, "ends the process")


def answer(number: int) -> Action:
    """The call is not made, and fails with an errno. With 0 it "succeeds" and returns 0."""
    return Action(_ERRNO | number, errno.errorcode.get(number, str(number)))


@dataclass(frozen=True, slots=True)
class Only:
    """What an argument must be for a rule to hold."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to one system call, and why."""

    name: str
    action: Action
    reason: str
    only: tuple[Only, ...] = ()
    """Conditions for the action."""
    otherwise: Action = KILL
    """What happens where they do not hold."""


@dataclass(frozen=True, slots=True)
class Table:
    """All rules of one process."""

    rules: tuple[Rule, ...]
    default: Action


def assemble(table: Table, machine: Machine) -> bytes:
    """The filter program of a table. A call that the machine does not have needs no rule."""
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, machine.audit_architecture),
        (_RETURN, 0, 0, KILL.value),  # a call of another architecture has other numbers
        (_LOAD, 0, 0, _NUMBER_AT),
        (_IF_NOT_BELOW, 0, 1, machine.foreign_numbers),
        (_RETURN, 0, 0, KILL.value),
    ]
    for rule in table.rules:
        number = machine.numbers.get(rule.name)
        if number is not None:
            body = [*_conditions(rule), (_RETURN, 0, 0, rule.action.value)]
            program.append((_IF_EQUAL, 0, len(body), number))
            program.extend(body)
    program.append((_RETURN, 0, 0, table.default.value))
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def install(program: bytes) -> None:
    """Put all threads of this process under a filter, for good.

    Raises `OSError` when one of them is under another one already.
    """
    code = ctypes.create_string_buffer(program, len(program))
    length = len(program) // _INSTRUCTION.size
    header = ctypes.create_string_buffer(struct.pack("HP", length, ctypes.addressof(code)))
    # Not an errno, but the id of the thread that could not follow; then none has the filter.
    if thread := system_call("seccomp", _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.addressof(header)):
        raise OSError(errno.EBUSY, f"seccomp: thread {thread} is under another filter")


def _conditions(rule: Rule) -> Iterator[Instruction]:
    for condition in rule.only:
        low = _ARGUMENTS_AT + _ARGUMENT_BYTES * condition.argument
        high_words = sorted({value >> 32 for value in condition.values})
        for offset, words in (
            (low, [value & 0xFFFFFFFF for value in condition.values]),
            (low + _ARGUMENT_BYTES // 2, high_words),
        ):
            yield (_LOAD, 0, 0, offset)
            for index, word in enumerate(words):
                yield (_IF_EQUAL, len(words) - index, 0, word)
            yield (_RETURN, 0, 0, rule.otherwise.value)
