"""Tracing (ptrace(2)): one thread holds another one, which nobody else can hold then.

A tracee is held by the thread that seized it, not by its process. Requests other than `seize`
and `interrupt` are for a tracee that is stopped.
"""

import ctypes
import os
import signal
from dataclasses import dataclass
from typing import Final

from keyiso.trustlet.arming.kernel import system_call, this_machine
from keyiso.trustlet.arming.machine import Registers

CONT: Final = 7
"""The one request that a guardian and a watcher need once they are armed."""

_SYSCALL: Final = 24
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_GETREGSET: Final = 0x4204
_SETREGSET: Final = 0x4205

_TRACESYSGOOD: Final = 0x1
_EXITKILL: Final = 0x100000
_NT_PRSTATUS: Final = 1
_EVENT_STOP: Final = 128
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80

WALL: Final = 0x40000000
"""For waitpid: threads as well as children (__WALL)."""


class _IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


@dataclass(frozen=True, slots=True)
class WaitStatus:
    """What waitpid(2) said of a tracee."""

    status: int

    @property
    def ended(self) -> bool:
        return not os.WIFSTOPPED(self.status)

    @property
    def interrupted(self) -> bool:
        """Stopped by `interrupt`, or by the end of a stop of the whole process."""
        return not self.ended and self.status >> 16 == _EVENT_STOP

    @property
    def at_system_call(self) -> bool:
        """Stopped where a system call begins or has ended."""
        return not self.ended and os.WSTOPSIG(self.status) == _SYSCALL_STOP

    @property
    def is_signal(self) -> bool:
        """Stopped because a signal is about to be delivered; to go on without it is to drop it."""
        return not self.ended and not self.status >> 16 and not self.at_system_call

    @property
    def harmless(self) -> bool:
        """A stop after which the tracee may simply go on.

        A pair blocks every signal that can be blocked. What arrives all the same is SIGSTOP, one
        of the two that the C library keeps for itself and never blocks, or a fault, which would
        come again for ever.
        """
        if not self.is_signal:
            return not self.ended
        return os.WSTOPSIG(self.status) in _NEVER_BLOCKED

    def __str__(self) -> str:
        if os.WIFEXITED(self.status):
            return f"exit {os.WEXITSTATUS(self.status)}"
        number = os.WTERMSIG(self.status) if self.ended else os.WSTOPSIG(self.status)
        name = signal.strsignal(number & 0x7F) or f"signal {number}"
        return f"{'ended' if self.ended else 'stopped'} by {name}"


_NEVER_BLOCKED: Final = frozenset({signal.SIGSTOP, 32, 33})
"""32 and 33: SIGCANCEL and SIGSETXID of glibc (nptl(7))."""


def block_signals() -> None:
    """Block every signal, for this thread and all that it starts.

    A tracee stops for each signal that is delivered to it. In a pair each side needs the other
    one to go on: the SIGCHLD that tells the guardian of the worker's stop would stop the guardian,
    and both would wait for ever. A blocked signal is not delivered.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def seize(thread: int) -> None:
    """Become the tracer of a thread, which goes on running and dies with this thread.

    Raises `PermissionError` when it has a tracer, or a rule of the system forbids it.
    """
    system_call("ptrace", _SEIZE, thread, 0, _EXITKILL | _TRACESYSGOOD)


def interrupt(thread: int) -> None:
    """Have a tracee stop; `wait_for` says when it has."""
    system_call("ptrace", _INTERRUPT, thread)


def resume(thread: int) -> None:
    """Let a tracee go on. The signal that stopped it, if one did, is dropped."""
    system_call("ptrace", CONT, thread, 0, 0)


def resume_to_system_call(thread: int) -> None:
    """Let a tracee go on until its next system call begins or ends."""
    system_call("ptrace", _SYSCALL, thread, 0, 0)


def wait_for(thread: int) -> WaitStatus:
    """Wait for a tracee's next stop, or its end."""
    return WaitStatus(os.waitpid(thread, WALL)[1])


def registers_of(thread: int) -> Registers:
    """The registers of a stopped tracee."""
    registers = this_machine().registers()
    _register_request(_GETREGSET, thread, registers)
    return registers


def set_registers(thread: int, registers: Registers) -> None:
    """Change the registers of a stopped tracee."""
    _register_request(_SETREGSET, thread, registers)


def _register_request(request: int, thread: int, registers: Registers) -> None:
    vector = _IoVec(ctypes.addressof(registers), ctypes.sizeof(registers))
    system_call("ptrace", request, thread, _NT_PRSTATUS, ctypes.addressof(vector))
