"""How bytes get to a TPM and back. A transport, and whoever stands behind it, learns no secret."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.command import HEADER_BYTES, Header

DEVICE: Final = Path("/dev/tpmrm0")
"""The kernel's resource manager: what an open file loaded is gone when it is closed."""


class Transport(Protocol):
    """What carries one command to a TPM and brings the answer back."""

    def exchange(self, command: bytes) -> bytes:
        """The answer, of at most ``TPM_MESSAGE_BYTES``.

        Raises ``NTE_DEVICE_NOT_READY`` when there is none.
        """


class DeviceTransport:
    """A TPM's character device: one write, one read."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def exchange(self, command: bytes) -> bytes:
        try:
            os.write(self._descriptor, command)
            return os.read(self._descriptor, limits.TPM_MESSAGE_BYTES)
        except OSError as error:
            raise _lost(error) from error


@contextlib.contextmanager
def open_device(path: Path = DEVICE) -> Iterator[DeviceTransport]:
    """A TPM's device, while the block lasts.

    Raises ``NTE_DEVICE_NOT_FOUND`` when there is none, ``NTE_PERM`` and ``NTE_DEVICE_NOT_READY``.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ncrypt_error(
            Status.NTE_DEVICE_NOT_FOUND,
            f"{path} does not exist",
            "Switch the TPM on in the machine's firmware, or give the virtual machine one.",
        ) from None
    except PermissionError:
        raise ncrypt_error(
            Status.NTE_PERM, f"{path} cannot be opened", "Join the group that owns it, often tss."
        ) from None
    except OSError as error:
        raise _lost(error) from error
    try:
        yield DeviceTransport(descriptor)
    finally:
        os.close(descriptor)


class SocketTransport:
    """A TPM in software (swtpm) at the other end of a stream socket, or a relay to any TPM."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(limits.TPM_ANSWER_SECONDS)
        self._socket = connected

    def exchange(self, command: bytes) -> bytes:
        """The answer. After a failure the connection is closed: what came late would be taken
        for the answer to another command.
        """
        try:
            self._socket.sendall(command)
            header = self._receive(HEADER_BYTES)
            size = Header.decode(header).size
            if not HEADER_BYTES <= size <= limits.TPM_MESSAGE_BYTES:
                raise ncrypt_error(
                    Status.KEYISO_E_TPM_ANSWER,
                    f"an answer says that it has {size} bytes;"
                    f" TPM_MESSAGE_BYTES is {limits.TPM_MESSAGE_BYTES}",
                )
            return header + self._receive(size - HEADER_BYTES)
        except OSError as error:
            self._socket.close()
            raise _lost(error) from error
        except NCryptError:
            self._socket.close()
            raise

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("the connection ended")
            data += piece
        return data


@contextlib.contextmanager
def connect(address: Path | tuple[str, int]) -> Iterator[SocketTransport]:
    """A connection to swtpm's data socket, by path or by host and port, while the block lasts.

    Raises ``NTE_DEVICE_NOT_FOUND`` when nobody listens there.
    """
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connected:
        try:
            connected.connect(str(address) if isinstance(address, Path) else address)
        except OSError as error:
            raise ncrypt_error(
                Status.NTE_DEVICE_NOT_FOUND, f"no TPM listens at {address}: {error.strerror}"
            ) from error
        if family == socket.AF_INET:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield SocketTransport(connected)


def _lost(error: OSError) -> NCryptError:
    return ncrypt_error(
        Status.NTE_DEVICE_NOT_READY, f"the TPM cannot be reached: {error.strerror or error}"
    )
