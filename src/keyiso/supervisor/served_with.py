"""The options that an instance was served with last. Who starts it again by itself, when its
supervisor has died, has it served so too.
"""

import os
from collections.abc import Sequence
from pathlib import Path


def note_options(path: Path, options: Sequence[str]) -> None:
    """Keep the arguments of a supervisor for the next one."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    # As in /proc/PID/cmdline: an argument may hold everything but NUL.
    temporary.write_bytes(b"".join(os.fsencode(option) + b"\0" for option in options))
    temporary.replace(path)


def noted_options(path: Path) -> list[str]:
    """The arguments of the last supervisor; none where there was none."""
    try:
        noted = path.read_bytes()
    except FileNotFoundError:
        return []
    return [os.fsdecode(option) for option in noted.split(b"\0")[:-1]]
