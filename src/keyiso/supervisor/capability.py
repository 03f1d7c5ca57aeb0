"""Giving a child one right of root's and no other one (capabilities(7)).

Secret memory is locked memory. Its limit is raised where that is allowed; a root of few rights, in
a container say, may not, but may lock as much as it likes. That right goes on to a pair.
"""

import ctypes
import os
import struct
from typing import Final

CAP_IPC_LOCK: Final = 14

_PR_SET_KEEPCAPS: Final = 8
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2

_VERSION_3: Final = 0x20080522
_HEADER: Final = struct.Struct("=Ii")
_DATA: Final = struct.Struct("=6I")
"""struct __user_cap_data_struct, twice: effective, permitted, inheritable of the low 32, then of
the high ones."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


def may_lock_memory() -> bool:
    """Whether this process may lock as much memory as it likes."""
    effective, *_ = _DATA.unpack(_get())
    return bool(effective >> CAP_IPC_LOCK & 1)


def keep_rights_over_setuid() -> None:
    """To be called before root becomes somebody else, and `keep_only` after it."""
    _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))


def keep_only(capability: int) -> None:
    """Have this right and no other one, also in the program that is executed next."""
    bit = 1 << capability
    data = _DATA.pack(bit, bit, bit, 0, 0, 0)
    _check(_libc.capset(_HEADER.pack(_VERSION_3, 0), data))
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _get() -> bytes:
    data = ctypes.create_string_buffer(_DATA.size)
    _check(_libc.capget(_HEADER.pack(_VERSION_3, 0), data))
    return data.raw


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
