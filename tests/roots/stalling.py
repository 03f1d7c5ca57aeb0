"""A relay to a TPM that listens, remembers, and can stop in the midst of something."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from keyiso.tpm.command import HEADER_BYTES, Header
from keyiso.tpm.constants import TPM_CC
from keyiso.tpm.transport import connect
from tests.tpm.relays import code_of


class StallingRelay:
    """Stops before the command ``at`` (from 1) of a kind, until it is let go on."""

    def __init__(self, tpm: Path, code: TPM_CC, at: int) -> None:
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self.wire = b""
        """All bytes that passed."""
        self._tpm = tpm
        self._code = code
        self._left = at

    @contextlib.contextmanager
    def listening(self, path: Path) -> Iterator[None]:
        """It serves one connection after the other while the block lasts."""
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            thread = threading.Thread(target=self._serve, args=(listening,))
            thread.start()
            try:
                yield
            finally:
                self.go_on.set()
                listening.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connected, _ = listening.accept()
            except OSError:
                return
            with connected, connect(self._tpm) as tpm:
                while command := _command(connected):
                    self._perhaps_stall(command)
                    answer = tpm.exchange(command)
                    self.wire += command + answer
                    with contextlib.suppress(OSError):
                        connected.sendall(answer)

    def _perhaps_stall(self, command: bytes) -> None:
        self._left -= code_of(command) == self._code
        if not self._left and not self.stalled.is_set():
            self.stalled.set()
            self.go_on.wait()


def _command(connected: socket.socket) -> bytes:
    """The next command; empty when the other side has gone."""
    with contextlib.suppress(OSError):
        header = connected.recv(HEADER_BYTES, socket.MSG_WAITALL)
        if len(header) == HEADER_BYTES:
            rest = Header.decode(header).size - HEADER_BYTES
            return header + connected.recv(rest, socket.MSG_WAITALL)
    return b""
