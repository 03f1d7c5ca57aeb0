"""What a process has mapped (/proc/PID/maps, proc_pid_maps(5))."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LINE: Final = re.compile(
    r"(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) (?P<permissions>[r-][w-][x-][ps])"
    r" (?P<offset>[0-9a-f]+) [0-9a-f]+:[0-9a-f]+ (?P<inode>\d+)\s*(?P<name>.*)"
)

_OF_THE_KERNEL: Final = ("[vvar", "[vsyscall]")
"""Pages of the kernel, read-only by their nature: clocks, and an entry of old programs."""


@dataclass(frozen=True, slots=True)
class Region:
    """One mapping."""

    start: int
    end: int
    permissions: str
    """As the kernel prints it: ``rw-p``."""
    name: str
    """A path, or the kernel's word in brackets; empty for anonymous memory."""
    offset: int = 0
    """Where in its file it begins."""
    inode: int = 0
    """The file; 0 where there is none."""

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def accessible(self) -> bool:
        return self.permissions[:3] != "---"

    @property
    def writable(self) -> bool:
        return self.permissions[1] == "w"

    @property
    def executable(self) -> bool:
        return self.permissions[2] == "x"

    @property
    def shared(self) -> bool:
        """Not private: the kernel makes no copy of a page that a debugger writes."""
        return self.permissions[3] == "s"

    @property
    def secret(self) -> bool:
        """Secret memory, as the kernel names it."""
        return self.name.startswith("/secretmem")

    @property
    def of_the_kernel(self) -> bool:
        return self.name.startswith(_OF_THE_KERNEL)

    def __str__(self) -> str:
        return f"{self.start:x}-{self.end:x} {self.permissions} {self.name or 'anonymous'}"


def regions_of(pid: int | str) -> tuple[Region, ...]:
    """All mappings of a process, in the order of their addresses."""
    return parse_regions(Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace"))


def parse_regions(maps: str) -> tuple[Region, ...]:
    """The mappings that the text of /proc/PID/maps lists."""
    found = []
    for line in maps.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"not a line of /proc/PID/maps: {line!r}")
        found.append(
            Region(
                int(match["start"], 16),
                int(match["end"], 16),
                match["permissions"],
                match["name"],
                int(match["offset"], 16),
                int(match["inode"]),
            )
        )
    return tuple(found)
