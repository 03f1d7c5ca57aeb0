"""A socket where the clients of this process tell what they do, as under ``keyiso trace``."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.client.tracing import TRACE_VARIABLE

_END = b""


@contextmanager
def told_to(path: Path, patch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The records of whoever binds meanwhile, in this process or its children."""
    records: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))

        def listen() -> None:
            while record := listening.recv(limits.TRACE_RECORD_BYTES):
                records.append(record)

        thread = threading.Thread(target=listen)
        thread.start()
        patch.setenv(TRACE_VARIABLE, str(path))
        try:
            yield records
        finally:
            patch.delenv(TRACE_VARIABLE)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
                sending.sendto(_END, str(path))
            thread.join()
