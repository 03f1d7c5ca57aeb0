"""An alarm that kills this process unless it is put off in time.

Guardian and worker are each other's tracers. Somebody who may send both of them SIGSTOP at the same
moment can have both stopped, each waiting to be let go on by the other one; no signal but SIGKILL
ends that. So the kernel sends it, by a timer that the guardian keeps putting off while it runs.
"""

import ctypes
import signal
import struct
import time
from typing import Final

from keyiso.trustlet.arming.kernel import system_call

_SIGEV_SIGNAL: Final = 0
_SIGEVENT: Final = struct.Struct("Pii48x")
"""struct sigevent: value, signal, how to notify; 64 bytes in all."""


class DeadManSwitch:
    """A timer of this process (timer_create(2)) whose signal is SIGKILL."""

    def __init__(self, seconds: int) -> None:
        event = ctypes.create_string_buffer(_SIGEVENT.pack(0, signal.SIGKILL, _SIGEV_SIGNAL))
        timer = ctypes.c_int()
        system_call(
            "timer_create",
            time.CLOCK_MONOTONIC,
            ctypes.addressof(event),
            ctypes.addressof(timer),
        )
        self._timer = timer.value
        self._setting = (ctypes.c_long * 4)()  # struct itimerspec: interval, then the first time
        self.put_off(seconds)

    def switch_off(self) -> None:
        """Live on."""
        self.put_off(0)

    def put_off(self, seconds: int) -> None:
        """Die in so many seconds from now, rather than earlier."""
        self._setting[2] = seconds
        system_call("timer_settime", self._timer, 0, ctypes.addressof(self._setting), 0)
