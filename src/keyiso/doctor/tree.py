"""The files in which a kernel tells of itself: this machine's, or others' in tests."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tree:
    """A file system, from its root. Paths are as they are on the machine: ``/proc/sys/…``."""

    root: Path = Path("/")

    def path(self, name: str) -> Path:
        """Where a file of the machine is."""
        return self.root / name.lstrip("/")

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def text(self, name: str) -> str | None:
        """What a file holds, without space around it. None where there is no such file.

        Raises `OSError` for a file that is there and cannot be read.
        """
        try:
            return self.path(name).read_text(encoding="utf-8", errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, name: str) -> tuple[str, ...]:
        """What is in a directory; nothing where there is none. Raises `OSError` as `text` does."""
        try:
            return tuple(sorted(entry.name for entry in self.path(name).iterdir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def has_sysctl(self) -> bool:
        """/proc/sys is there, so that a file that is missing in it says something."""
        return self.exists("/proc/sys/kernel")

    def has_sysfs(self) -> bool:
        """/sys is there."""
        return self.exists("/sys/kernel")
