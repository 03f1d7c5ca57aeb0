"""The memory of armed workers: what it is made of, and how much of that there may be."""

from collections.abc import Callable
from typing import Final

from keyiso.doctor.finding import Finding, Question, answers
from keyiso.doctor.tree import Tree
from keyiso.errors import NCryptError
from keyiso.trustlet.arming.heap import HEAP_BYTES

SECRET_MEMORY: Final = Question(
    "secret-memory",
    "Keys can be kept in memory that the kernel maps for one process alone.",
    "No key can be kept from root here: there is nothing to keep it in.",
)
LOCKED_MEMORY: Final = Question(
    "locked-memory",
    "There is room for the memory of armed workers, which cannot be swapped out.",
    "A worker cannot be armed; keys that require `vbs` cannot be made.",
)

WORKER_BYTES: Final = HEAP_BYTES + (24 << 20)
"""What an armed worker locks: its heap, and about 20 MiB of Python, libraries and stacks."""

_FREE_OF_LIMITS: Final = {"CAP_IPC_LOCK": 14, "CAP_SYS_RESOURCE": 24}
"""With the first of these capabilities there is no limit, with the second it can be raised
(capabilities(7))."""

_UNLIMITED: Final = "unlimited"

THIS_PROCESS: Final = "self"
"""The directory of /proc of who asks."""


@answers(SECRET_MEMORY)
def secret_memory(make: Callable[[], None]) -> Finding:
    """Whether the kernel gives it out. ``make`` makes some and lets it go, and raises if it
    cannot."""
    try:
        make()
    except NCryptError as error:
        return SECRET_MEMORY.no(error.cause, error.action)
    return SECRET_MEMORY.yes("memfd_secret(2) gave some")


@answers(LOCKED_MEMORY)
def locked_memory(tree: Tree, process: str) -> Finding:
    """Whether a process, or the workers that it starts, may lock enough; ``process`` is a
    directory of /proc."""
    capabilities = _capabilities(tree, process)
    for name, bit in _FREE_OF_LIMITS.items():
        if capabilities >> bit & 1:
            return LOCKED_MEMORY.yes(f"{_named(process)} has {name}: no limit counts")
    limit = _limit(tree, process)
    if limit is None:
        return LOCKED_MEMORY.unknown(f"/proc/{process}/limits does not say")
    found = f"RLIMIT_MEMLOCK of {_named(process)} is {_mebibytes(limit)}"
    if limit != _UNLIMITED and int(limit) < WORKER_BYTES:
        return LOCKED_MEMORY.no(
            f"{found}; an armed worker needs up to {_mebibytes(str(WORKER_BYTES))}",
            "Raise it: LimitMEMLOCK=64M in the systemd unit, or `ulimit -l`, or"
            " /etc/security/limits.conf; then start keyiso again.",
        )
    return LOCKED_MEMORY.yes(found)


def _named(process: str) -> str:
    return "this process" if process == THIS_PROCESS else f"process {process}"


def _capabilities(tree: Tree, process: str) -> int:
    for line in (tree.text(f"/proc/{process}/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _limit(tree: Tree, process: str) -> str | None:
    """The hard limit: a guardian raises the soft one to it."""
    for line in (tree.text(f"/proc/{process}/limits") or "").splitlines():
        if line.startswith("Max locked memory"):
            return line.split()[4]
    return None


def _mebibytes(limit: str) -> str:
    return limit if limit == _UNLIMITED else f"{int(limit) >> 20} MiB"
