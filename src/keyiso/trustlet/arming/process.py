"""What the kernel says of a process (/proc/PID), and closing what it should not keep."""

import os
from collections.abc import Collection
from pathlib import Path


def threads_of(pid: int | str) -> tuple[int, ...]:
    """The ids of its threads; its own pid is the first of them."""
    return tuple(sorted(map(int, os.listdir(f"/proc/{pid}/task"))))


def status_of(pid: int | str, field: str) -> str:
    """One field of /proc/PID/status (proc_pid_status(5)); empty where the kernel has none."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return ""


def tracer_of(pid: int | str) -> int:
    """The thread that traces a process or thread; 0 where none does."""
    return int(status_of(pid, "TracerPid") or 0)


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor of this process that is not to be kept."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue  # that of the listing itself
