"""A blocking connection to a service: connect, hello, call."""

import contextlib
import functools
import os
import socket
import struct
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from keyiso import limits
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.wire.messages import (
    Call,
    Failure,
    Message,
    Operation,
    R_co,
    Refusal,
    Return,
    Span,
    Welcome,
    result_of,
)
from keyiso.wire.session import (
    FrameTooLongError,
    RemoteProtocolError,
    Role,
    Session,
    client_decoder,
)

_UCRED: Final = struct.Struct("3i")
_TIMEVAL: Final = struct.Struct("ll")


NO_ANSWER: Final = "did not answer before the deadline"


class ConnectionLost(Exception):
    """The other process is not there, or ended while it was asked. Never leaves this package."""

    def __init__(self, service: str, reason: str, *, listening: bool = True) -> None:
        super().__init__(f"{service}: {reason}")
        self.service = service
        self.reason = reason
        self.listening = listening
        """Somebody listens: the service restarts, rather than that it was never started."""


class Connection:
    """One connection. Not thread-safe: its owner holds a lock around each call.

    ``service`` is the peer's name before it has said its own.
    """

    def __init__(self, connected: socket.socket, service: str, *, frame_bytes: int) -> None:
        self.service = service
        self.pid = 0
        self.instance_id = b""
        self._socket = connected
        self._receive: Callable[[int], bytes] = connected.recv
        self.features: tuple[str, ...] = ()
        """What the service said that it offers beyond the first version."""
        self._session = Session(Role.CLIENT, client_decoder(), frame_bytes=frame_bytes)
        self._next_call = 0
        self._messages: deque[Message] = deque()
        self._descriptors: deque[int] = deque()
        self._timeout = -1.0
        self.broken = False
        """Nothing more can be asked here."""
        self.tell = False
        """Have the service tell what it did for each call."""
        self.told: tuple[Span, ...] = ()
        """What it told with the last answer that was taken."""
        # Nobody closes a process's binding; it is closed when it goes, or at the exit.
        self._close = weakref.finalize(self, _close, connected, _file_of(connected))

    def greet(self, timeout: float) -> None:
        """Say hello and wait for the welcome.

        Raises `ConnectionLost` when there is none, ``KEYISO_E_PROTOCOL`` or the server's own
        status when it refuses.
        """
        self._set_timeout(timeout)
        try:
            self._socket.sendall(self._session.hello("application"))
            match message := self._next_message():
                case Welcome():
                    self.service = message.service
                    self.pid = message.pid
                    self.instance_id = message.instance_id
                    self.features = message.features
                case Refusal():
                    raise self._refused(message)
        except OSError as error:
            self.close()
            raise self._lost(error) from None
        except BaseException:
            self.close()
            raise

    def call(
        self,
        operation: Operation[R_co],
        *,
        trace: str,
        hops: tuple[Hop, ...],
        timeout: float,
        before: tuple[Operation[Any], ...] = (),
    ) -> R_co:
        """Ask and wait for the answer."""
        return self.take(operation, self.post(operation, trace, hops, timeout, before))

    def post(
        self,
        operation: Operation[Any],
        trace: str,
        hops: tuple[Hop, ...],
        timeout: float,
        before: tuple[Operation[Any], ...] = (),
    ) -> int:
        """Ask. Returns the id that the answer is taken by.

        ``before`` are operations that go first in the same write, and whose answers nobody needs.
        Raises `ConnectionLost`.
        """
        call_id = self._next_call = self._next_call + 1
        try:
            frame = self._session.send(Call(call_id, operation, trace, hops, self.tell))
        except FrameTooLongError as error:
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, error.cause) from None
        try:
            if abs(timeout - self._timeout) > _TIMEOUT_TOLERANCE:
                self._set_timeout(timeout)
            for early in before:
                self._next_call += 1
                frame = self._session.send(Call(self._next_call, early, trace, hops)) + frame
            self._socket.sendall(frame)
        except OSError as error:
            self.close()
            raise self._lost(error) from None
        except BaseException:
            self.close()
            raise
        return call_id

    def take(self, operation: Operation[R_co], call_id: int) -> R_co:
        """Wait for an answer. Answers are taken in the order in which they were asked for.

        Raises `ConnectionLost`, or the status that the service answers. Whatever ends the wait
        early (a signal's exception too) also ends the connection, as an answer is still due.
        """
        try:
            answer = self._next_message()
            while not isinstance(answer, (Return, Failure)) or answer.call_id != call_id:
                if isinstance(answer, Refusal):
                    raise self._refused(answer)
                answer = self._next_message()
        except OSError as error:
            self.close()
            raise self._lost(error) from None
        except BaseException:
            self.close()
            raise
        if self.tell:
            self.told = answer.spans
        if isinstance(answer, Failure):
            raise ncrypt_error(answer.status, answer.cause, answer.action, answer.chain)
        try:
            return result_of(operation, answer)
        except msgspec.DecodeError:
            self.close()
            raise RemoteProtocolError(f"{self.service} answered with something else") from None

    def fileno(self) -> int:
        """The socket's descriptor, for poll(2)."""
        return self._socket.fileno()

    @property
    def has_message(self) -> bool:
        """Something was received that nobody has taken yet."""
        return bool(self._messages)

    def take_descriptor(self) -> int:
        """The descriptor that came with the last answer; the caller owns it."""
        if not self._descriptors:
            raise RemoteProtocolError(f"{self.service} sent no descriptor")
        return self._descriptors.popleft()

    def close(self) -> None:
        self.broken = True
        self._close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _next_message(self) -> Message:
        while not self._messages:
            data = self._receive(limits.READ_BYTES)
            if not data:
                raise ConnectionLost(self.service, "ended")
            self._messages.extend(self._session.receive(data))
        return self._messages.popleft()

    def _lost(self, error: OSError) -> ConnectionLost:
        if isinstance(error, TimeoutError | BlockingIOError):
            return ConnectionLost(self.service, NO_ANSWER)
        return ConnectionLost(self.service, error.strerror or "not reachable")

    def _set_timeout(self, seconds: float) -> None:
        """A kernel time-out: unlike a socket's own it costs no extra system call per read."""
        self._timeout = seconds
        value = _timeval(seconds)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)

    def _refused(self, refusal: Refusal) -> NCryptError:
        return ncrypt_error(
            refusal.status, refusal.cause, refusal.action, (Hop(self.service, self.pid, "refused"),)
        )


class ControlConnection(Connection):
    """A connection whose answers may bring descriptors."""

    def __init__(self, connected: socket.socket, service: str, *, frame_bytes: int) -> None:
        super().__init__(connected, service, frame_bytes=frame_bytes)
        self._receive = functools.partial(_receive_descriptors, connected, self._descriptors)


def _receive_descriptors(connected: socket.socket, found: deque[int], size: int) -> bytes:
    data, descriptors, _, _ = socket.recv_fds(connected, size, limits.DESCRIPTORS_PER_MESSAGE)
    found.extend(descriptors)
    return data


def _file_of(connected: socket.socket) -> tuple[int, int]:
    """What tells it from whatever else may have its number later."""
    found = os.fstat(connected.fileno())
    return found.st_dev, found.st_ino


def _close(connected: socket.socket, file: tuple[int, int]) -> None:
    """Close a socket, unless the program has closed its number already, as who becomes a daemon
    does: another file may have the number then.
    """
    with contextlib.suppress(OSError):
        if _file_of(connected) == file:
            connected.close()
    connected.detach()


_TIMEOUT_TOLERANCE: Final = 0.5
"""Seconds by which the kernel's time-out may differ from what is left of a deadline."""


def _timeval(seconds: float) -> bytes:
    return _TIMEVAL.pack(int(seconds), int(seconds % 1 * 1e6) or 1)


def connect(
    path: os.PathLike[str], trusted_uids: frozenset[int], timeout: float, service: str = "keyiso"
) -> socket.socket:
    """A connected socket whose listener belongs to somebody who is trusted.

    Raises `ConnectionLost` when nobody listens, ``KEYISO_E_PEER_REFUSED`` when another user does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout))
        connection.connect(os.fspath(path))
        _, uid, _ = _UCRED.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        )
        if uid not in trusted_uids:
            raise ncrypt_error(
                Status.KEYISO_E_PEER_REFUSED,
                f"the socket {os.fspath(path)} belongs to uid {uid}",
                "Somebody else listens there. Remove it, or set KEYISO_HOME or XDG_RUNTIME_DIR.",
            )
    except OSError as error:
        connection.close()
        raise ConnectionLost(service, error.strerror or "not reachable", listening=False) from None
    except BaseException:
        connection.close()
        raise
    return connection
