"""A socket where a journal would be: it takes records apart as journald does."""

import array
import fcntl
import os
import re
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

NAME = re.compile(rb"[A-Z][A-Z0-9_]{0,63}")


class JournalSocket:
    """Listens at a path, and reads only when it is asked to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(os.fspath(path))

    def record(self) -> bytes:
        """The next record: a datagram, or the memory that came instead of one."""
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        for _, _, payload in ancillary:
            (memory,) = array.array("i", payload)
            seals = fcntl.fcntl(memory, fcntl.F_GET_SEALS)
            assert seals & fcntl.F_SEAL_WRITE and seals & fcntl.F_SEAL_SHRINK
            with open(memory, "rb") as file:
                file.seek(0)
                data = file.read()
        return data

    def entry(self) -> list[tuple[str, str]]:
        """The fields of the next record."""
        return list(fields(self.record()))

    def wait(self, seconds: float) -> list[bytes]:
        """All records that are there, once there is one or so many seconds have passed."""
        select.select([self.socket], [], [], seconds)
        records = []
        try:
            while True:
                records.append(self.record())
        except BlockingIOError:
            return records

    def close(self) -> None:
        self.socket.close()


def fields(data: bytes) -> Iterator[tuple[str, str]]:
    """Parse a record as systemd's description of the protocol says."""
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", data)
            value, end = data[8 : 8 + length], data[8 + length : 9 + length]
            assert len(value) == length and end == b"\n"
            data = data[9 + length :]
        assert NAME.fullmatch(name), name
        yield name.decode(), value.decode()
