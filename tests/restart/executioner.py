"""Who kills: a process of its own, so that no thread of the clients' process can delay it."""

import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

_ORDER = struct.Struct("di")
_REPORT = struct.Struct("dd?")
_MOST_VICTIMS = 64


@dataclass(frozen=True)
class Blow:
    """What was done. Times are those of the monotonic clock."""

    since: float
    until: float
    hit: bool
    """At least one of the processes was still there."""


class Executioner:
    """Sends signals, so many seconds after it was given the sign."""

    def __init__(self) -> None:
        self._orders, orders = socket.socketpair()
        sign, self._sign = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._orders.close()
                os.close(self._sign)
                _obey(orders, sign)
            finally:
                os._exit(0)
        orders.close()
        os.close(sign)

    def order(self, delay: float, number: signal.Signals, pidfds: Sequence[int]) -> None:
        """Send this signal to all of them, so many seconds after the sign."""
        socket.send_fds(self._orders, [_ORDER.pack(delay, number)], list(pidfds))

    def give_sign(self) -> None:
        """Callable from any thread, and from a forked child."""
        os.write(self._sign, b"!")

    def report(self) -> Blow:
        """Wait until it is done."""
        return Blow(*_REPORT.unpack(self._orders.recv(_REPORT.size, socket.MSG_WAITALL)))

    def close(self) -> None:
        self._orders.close()
        os.close(self._sign)
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _obey(orders: socket.socket, sign: int) -> None:
    while True:
        order, pidfds, _, _ = socket.recv_fds(orders, _ORDER.size, _MOST_VICTIMS)
        if not order or not os.read(sign, 1):
            return
        delay, number = _ORDER.unpack(order)
        if delay > 0:
            threading.Event().wait(delay)
        since, hit = time.monotonic(), False
        for pidfd in pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
                hit = True
        orders.sendall(_REPORT.pack(since, time.monotonic(), hit))
        for pidfd in pidfds:
            os.close(pidfd)
