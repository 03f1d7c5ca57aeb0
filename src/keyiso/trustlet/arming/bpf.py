"""BPF programs (bpf(2)): the call, and one instruction of theirs."""

import ctypes
import struct
from typing import Final

from keyiso.trustlet.arming.kernel import system_call

PROG_LOAD: Final = 5
PROG_GET_NEXT_ID: Final = 11
PROG_GET_FD_BY_ID: Final = 13
OBJ_GET_INFO_BY_FD: Final = 15
RAW_TRACEPOINT_OPEN: Final = 17

_INSTRUCTION: Final = struct.Struct("=BBhI")


def bpf(command: int, attributes: "bytes | ctypes.Array[ctypes.c_char]") -> int:
    """Make the call. A buffer is also where the kernel answers. Raises `OSError`."""
    if isinstance(attributes, bytes):
        attributes = ctypes.create_string_buffer(attributes, len(attributes))
    return system_call("bpf", command, ctypes.addressof(attributes), len(attributes))


def instruction(code: int, to: int = 0, of: int = 0, offset: int = 0, value: int = 0) -> bytes:
    """One instruction: operation, destination and source register, offset, immediate value."""
    return _INSTRUCTION.pack(code, to | of << 4, offset, value & 0xFFFFFFFF)
