"""How a test talks to the agent in a guest: lines of JSON, over a serial line."""

import json
import socket
import time
from typing import Any

_MESSAGE_BYTES = 1 << 20


class GuestEnded(Exception):
    """The machine has no power."""


class GuestSilent(Exception):
    """It did not answer in time."""


class Channel:
    """Our end of the line."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._buffer = b""

    def send(self, message: dict[str, Any]) -> None:
        """Raises `GuestEnded`."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise GuestEnded from error

    def receive(self, until: float) -> dict[str, Any]:
        """The next message; what is none, as a boot leaves it behind, is left out.

        ``until`` is an instant of the monotonic clock. Raises `GuestEnded`, `GuestSilent`.
        """
        while True:
            line = self._line(until)
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                return message

    def close(self) -> None:
        self._socket.close()

    def _line(self, until: float) -> bytes:
        while b"\n" not in self._buffer:
            assert len(self._buffer) < _MESSAGE_BYTES, "a message without an end"
            left = until - time.monotonic()
            if left <= 0:
                raise GuestSilent
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise GuestSilent from None
            except OSError as error:
                raise GuestEnded from error
            if not data:
                raise GuestEnded
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
