"""What clients under load tell the process that kills: how many operations, and what is under
way right now. A file mapped by all of them, so that it can be read at the instant of a kill.
"""

import enum
import mmap
import struct
from pathlib import Path

_ROW = struct.Struct("<QQ")


class Doing(enum.IntEnum):
    """What a client waits for."""

    NOTHING = 0
    WORKER = 1
    KEYISO = 2


class Scoreboard:
    """One row for each client, and one that tells all of them to stop."""

    def __init__(self, path: Path, clients: int) -> None:
        size = _ROW.size * (clients + 1)
        if not path.exists():
            path.write_bytes(bytes(size))
        self._clients = clients
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def note(self, client: int, operations: int, doing: Doing) -> None:
        _ROW.pack_into(self._map, _ROW.size * (client + 1), operations, doing)

    def operations(self) -> int:
        """Operations that all clients have finished."""
        return sum(self._row(client)[0] for client in range(self._clients))

    def under_way(self) -> set[Doing]:
        return {Doing(self._row(client)[1]) for client in range(self._clients)} - {Doing.NOTHING}

    def stop(self) -> None:
        _ROW.pack_into(self._map, 0, 1, 0)

    @property
    def stopped(self) -> bool:
        return bool(_ROW.unpack_from(self._map, 0)[0])

    def close(self) -> None:
        self._map.close()

    def _row(self, client: int) -> tuple[int, int]:
        operations, doing = _ROW.unpack_from(self._map, _ROW.size * (client + 1))
        return operations, doing
