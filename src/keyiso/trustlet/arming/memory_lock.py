"""Secret memory is locked memory, and how much of that a process may have is limited."""

import resource
from pathlib import Path
from typing import Final

from keyiso.trustlet.arming.kernel import cannot_arm

_CAP_IPC_LOCK: Final = 14
"""With this capability (capabilities(7)) there is no limit."""

_MEBIBYTE: Final = 1 << 20


def raise_memory_lock_limit() -> None:
    """As much as this process may give itself, for the worker that inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    for limit in (resource.RLIM_INFINITY, hard):
        try:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        except (ValueError, PermissionError):  # the first is for root (CAP_SYS_RESOURCE)
            continue
        return


def check_memory_lock(pid: int, needed: int) -> None:
    """Raise `VbsUnavailableError` when a process may not lock so many bytes.

    Otherwise the kernel would refuse in the midst of the move.
    """
    if may_lock_everything(pid):
        return
    _, limit = resource.prlimit(pid, resource.RLIMIT_MEMLOCK)
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise cannot_arm(
            f"the worker needs {_mebibytes(needed)} MiB of locked memory,"
            f" and RLIMIT_MEMLOCK is {limit / _MEBIBYTE:.0f} MiB",
            f"Raise it: LimitMEMLOCK={_mebibytes(needed)}M in the systemd unit, or `ulimit -l`.",
        )


def may_lock_everything(pid: int | str) -> bool:
    """Whether a process has CAP_IPC_LOCK."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False


def _mebibytes(size: int) -> int:
    return -(-size // _MEBIBYTE)
