"""What guardian and worker say to each other while they become a pair.

In this order, one message each:

    worker    READY      warmed up: stop me and move my memory
    guardian  MOVED      done, and I am your tracer
    worker    WATCHED    and I am yours
    guardian  GUARDING   I have given up everything but guarding you

Each side waits for so long and no longer: what stops the other one then ends both. In the place
of any of its messages a worker may say FAILED, and why.
"""

import contextlib
import enum
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final

from keyiso.errors import NCryptError
from keyiso.trustlet.arming.kernel import cannot_arm, disturbed

ENVIRONMENT_NAME: Final = "KEYISO_GUARDIAN"
"""The descriptor of the worker's end, in its environment."""

PATIENCE_SECONDS: Final = 30.0
"""A worker warms up in well under a second; a busy machine may take a while to let it."""

_MESSAGE: Final = struct.Struct("<BI")
_TEXT_BYTES: Final = 2000
"""Of a failure: a few sentences."""


class Step(enum.IntEnum):
    """One message."""

    READY = 1
    MOVED = 2
    WATCHED = 3
    GUARDING = 4
    FAILED = 5
    """With a text instead of the number: the cause, a zero byte, what to do."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """One end of it."""

    connection: socket.socket
    other: str
    """What the other side is, for messages to people."""

    def say(self, step: Step, value: int = 0) -> None:
        """Take a step. Raises `VbsUnavailableError` when the other side has gone."""
        try:
            # Not `send`, which looks first whether it may: the guardian's last word is its `write`.
            os.write(self.connection.fileno(), _MESSAGE.pack(step, value))
        except OSError:
            raise self._gone() from None

    def wait_for(self, step: Step) -> int:
        """Wait until the other side has taken a step; the value that it gives.

        Raises `VbsUnavailableError` when it takes another one, none in time, or has gone.
        """
        try:
            message = self.connection.recv(1 + _TEXT_BYTES)
        except TimeoutError:
            raise disturbed(
                f"the {self.other} was silent for {PATIENCE_SECONDS:g} s, before {step.name}"
            ) from None
        except OSError:
            raise self._gone() from None
        if not message:
            raise self._gone()
        if message[0] == Step.FAILED:
            cause, _, action = message[1:].decode("utf-8", "replace").partition("\0")
            raise cannot_arm(cause, action)
        if len(message) != _MESSAGE.size or message[0] != step:
            raise cannot_arm(f"the {self.other} did not say {step.name} in its turn")
        value: int = _MESSAGE.unpack(message)[1]
        return value

    def fail(self, error: NCryptError) -> None:
        """Tell the other side why there will be no pair, if it still listens."""
        text = f"{error.cause}\0{error.action}".encode("utf-8", "replace")[:_TEXT_BYTES]
        with contextlib.suppress(OSError):
            os.write(self.connection.fileno(), bytes([Step.FAILED]) + text)

    def _gone(self) -> NCryptError:
        return disturbed(f"the {self.other} ended before the pair was armed")


def handshake_pair() -> tuple[Handshake, socket.socket]:
    """The guardian's end, and the socket that its worker inherits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(PATIENCE_SECONDS)
    theirs.set_inheritable(True)
    return Handshake(ours, "worker"), theirs


def tell_guardian(error: NCryptError) -> None:
    """A worker's last word, when it cannot be armed."""
    with contextlib.suppress(OSError, NCryptError):
        handshake_of_worker().fail(error)


def handshake_of_worker() -> Handshake:
    """The worker's end. Raises `VbsUnavailableError` in a process that no guardian started."""
    number = os.environ.get(ENVIRONMENT_NAME, "")
    if not number.isdecimal():
        raise cannot_arm("this process was not started by a guardian")
    connection = socket.socket(fileno=int(number))
    connection.settimeout(PATIENCE_SECONDS)
    return Handshake(connection, "guardian")
