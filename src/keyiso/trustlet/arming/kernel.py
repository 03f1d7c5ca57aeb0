"""System calls that Python has no function for (syscall(2), prctl(2))."""

import ctypes
import functools
import os
import platform
from pathlib import Path
from typing import Final

from keyiso.errors import NCryptError, VbsUnavailableError, ncrypt_error
from keyiso.status import Status
from keyiso.trustlet.arming.machine import Machine
from keyiso.trustlet.arming.x86_64 import X86_64

_MACHINES: Final = {"x86_64": X86_64}

_PR_GET_DUMPABLE: Final = 3
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_PTRACER: Final = 0x59616D61

_YAMA_SCOPE: Final = Path("/proc/sys/kernel/yama/ptrace_scope")

_MOST_ARGUMENTS: Final = 6

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = [ctypes.c_long] * (1 + _MOST_ARGUMENTS)


class DisturbedError(VbsUnavailableError):
    """Somebody is in the way, and may be gone the next time: the machine itself can arm."""


def disturbed(cause: str, action: str = "") -> DisturbedError:
    """Why there is no armed worker this time."""
    return DisturbedError(Status.NTE_VBS_UNAVAILABLE, cause, action)


def may_not_trace(whom: str) -> NCryptError:
    """Why tracing was refused: by the machine's settings, or by somebody who was faster."""
    try:
        scope = int(_YAMA_SCOPE.read_text(encoding="ascii"))
    except OSError:
        scope = 0
    if scope > 1:
        return cannot_arm(
            f"{whom} may not be traced: kernel.yama.ptrace_scope is {scope}",
            "Set it to 0 or 1 (sysctl; scope 3 lasts until the next boot).",
        )
    return disturbed(f"{whom} may not be traced", "End the debugger that traces it.")


def cannot_arm(cause: str, action: str = "") -> NCryptError:
    """Why there will be no armed worker: `VbsUnavailableError`."""
    return ncrypt_error(Status.NTE_VBS_UNAVAILABLE, cause, action)


@functools.cache
def this_machine() -> Machine:
    """The processor that this runs on. Raises `VbsUnavailableError` for one not written yet."""
    name = platform.machine()
    if name not in _MACHINES:
        raise cannot_arm(f"arming knows {', '.join(_MACHINES)}, and this machine is {name}")
    return _MACHINES[name]


def system_call(name: str, *arguments: int) -> int:
    """What a system call returns. Raises the `OSError` of its errno."""
    padded = (*arguments, *(0,) * (_MOST_ARGUMENTS - len(arguments)))
    ctypes.set_errno(0)
    result: int = _libc.syscall(this_machine().numbers[name], *padded)
    if result == -1 and ctypes.get_errno():
        raise os_error(ctypes.get_errno(), name)
    return result


def os_error(number: int, what: str) -> OSError:
    """The exception of an errno; Python chooses the class (`PermissionError` and so on)."""
    return OSError(number, f"{what}: {os.strerror(number)}")


def forbid_new_privileges() -> None:
    """No more rights by executing something; without this seccomp(2) is for root only."""
    system_call("prctl", _PR_SET_NO_NEW_PRIVS, 1)


def forbid_dumps() -> None:
    """No core file, and no tracer of the same user (PR_SET_DUMPABLE).

    RLIMIT_CORE alone is not enough: a core_pattern that is a pipe takes no notice of it.
    """
    system_call("prctl", _PR_SET_DUMPABLE, 0)


def dumpable() -> bool:
    """Whether a core of this process could be written."""
    return system_call("prctl", _PR_GET_DUMPABLE) != 0


def allow_tracer(pid: int) -> None:
    """Let a process trace this one that is no ancestor of it, as Yama's scope 1 wants it said."""
    try:
        system_call("prctl", _PR_SET_PTRACER, pid)
    except OSError:
        return  # a kernel without Yama: no such option, and no such rule
