"""A device, or a connected socket, in a loop: bytes in both directions, and nothing else."""

import os
from collections import deque
from collections.abc import Callable

from keyiso import limits
from keyiso.server.loop import READ, WRITE, Loop


class Line:
    """Owns the descriptor. ``received`` is called with the bytes that came, ``drained`` when there
    is room again, ``closed`` once, when the line ended for whatever reason but `close`.
    """

    def __init__(
        self,
        loop: Loop,
        descriptor: int,
        *,
        received: Callable[[bytes], None],
        drained: Callable[[], None],
        closed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._received = received
        self._drained = drained
        self._closed = closed
        self._unsent: deque[memoryview] = deque()
        self._unsent_bytes = 0
        self._open = True
        os.set_blocking(descriptor, False)
        loop.watch(descriptor, READ, self._ready)

    @property
    def idle(self) -> bool:
        """Nothing waits to be sent."""
        return not self._unsent

    @property
    def congested(self) -> bool:
        """So much waits that nothing should be added that can wait elsewhere."""
        return self._unsent_bytes > limits.MUX_PAUSE_BYTES

    def write(self, data: bytes) -> None:
        """Send, now or when there is room."""
        if not self._open or not data:
            return
        was_idle = self.idle
        self._unsent.append(memoryview(data))
        self._unsent_bytes += len(data)
        if was_idle:
            self._flush()
        if self._unsent_bytes > limits.MUX_UNSENT_BYTES:
            self._end()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.forget(self._descriptor)
            os.close(self._descriptor)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            was_congested = self.congested
            self._flush()
            if was_congested and not self.congested:
                self._drained()
        if not (events & READ and self._open):
            return
        try:
            data = os.read(self._descriptor, limits.READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self._end()

    def _flush(self) -> None:
        try:
            while self._unsent:
                sent = os.write(self._descriptor, self._unsent[0])
                self._unsent_bytes -= sent
                if sent == len(self._unsent[0]):
                    self._unsent.popleft()
                else:
                    self._unsent[0] = self._unsent[0][sent:]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._end()
            return
        self._loop.change(self._descriptor, READ | (WRITE if self._unsent else 0), self._ready)

    def _end(self) -> None:
        if self._open:
            self.close()
            self._closed()
