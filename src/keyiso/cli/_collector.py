"""Runs a command, and collects what the programs in it tell of what they do with keys."""

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from keyiso import limits
from keyiso.client.tracing import TRACE_VARIABLE, Step
from keyiso.paths import SOCKET_ADDRESS_BYTES

_SHORT_DIRECTORY: Final = "/tmp"  # noqa: S108 (a directory of our own is made in it)
_PASSED_ON: Final = (signal.SIGTERM, signal.SIGHUP)


class Collector:
    """Use it as a context. The socket is in a directory that only this user may enter."""

    def __init__(self) -> None:
        self.lost = 0
        """Records that found no room, or that nobody could read."""
        self._steps: list[Step] = []
        self._bytes = 0
        self._decoder = msgspec.msgpack.Decoder(Step)

    def __enter__(self) -> "Collector":
        self._directory = _private_directory()
        self._path = self._directory / "socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self._path))
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> int:
        """Run the command, and collect until it has ended. Returns its exit code: 128 and the
        signal's number, as shells have it, when a signal ended it.

        Raises ``OSError`` when it cannot be started.
        """
        with _signals_for(process := _started(command, environ, self._path)):
            ended = os.pidfd_open(process.pid)
            waiting = select.poll()
            waiting.register(ended, select.POLLIN)
            waiting.register(self._socket, select.POLLIN)
            try:
                while all(descriptor != ended for descriptor, _ in waiting.poll()):
                    self._receive()
            finally:
                os.close(ended)
            code = process.wait()
        self._receive()
        return code if code >= 0 else 128 - code

    def steps(self) -> list[Step]:
        """What was told, in the order in which it was begun."""
        return sorted(self._steps, key=lambda step: step.began)

    def _receive(self) -> None:
        """Take everything that has come."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._take(self._socket.recv(limits.TRACE_RECORD_BYTES))

    def _take(self, record: bytes) -> None:
        try:
            step = self._decoder.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.lost += 1
            return
        self.lost += step.lost
        self._bytes += len(record)
        if self._bytes > limits.TRACE_BYTES or not step.spans:
            self.lost += 1
        else:
            self._steps.append(step)


def _private_directory() -> Path:
    """A new one of mode 0700, whose path leaves room for a socket's name."""
    directory = Path(tempfile.mkdtemp(prefix="keyiso-trace-"))
    if len(os.fsencode(directory / "socket")) <= SOCKET_ADDRESS_BYTES:
        return directory
    directory.rmdir()
    return Path(tempfile.mkdtemp(prefix="keyiso-trace-", dir=_SHORT_DIRECTORY))


def _started(
    command: Sequence[str], environ: Mapping[str, str], path: Path
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env={**environ, TRACE_VARIABLE: str(path)})


@contextlib.contextmanager
def _signals_for(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """The command decides what a signal means. A terminal sends it ^C itself."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    def leave(number: int, frame: FrameType | None) -> None:
        """The terminal's."""

    handlers = {signal.SIGINT: leave, signal.SIGQUIT: leave} | dict.fromkeys(_PASSED_ON, pass_on)
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
