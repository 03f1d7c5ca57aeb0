"""Attacks that make the kernel write a core."""

import contextlib
import os
import resource
import signal
from pathlib import Path

from tests.attack.outcome import Outcome, found, impossible
from tests.attack.subject import Subject, wait_until

FATAL = (
    signal.SIGQUIT,
    signal.SIGILL,
    signal.SIGTRAP,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGSEGV,
    signal.SIGXCPU,
    signal.SIGXFSZ,
    signal.SIGSYS,
)
"""Signals whose default is a core (signal(7))."""


def dump_core(subject: Subject) -> Outcome:
    """Raise RLIMIT_CORE from outside, and send every signal that leaves a core."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip()
    if pattern.startswith("|") or "/" in pattern:
        impossible(f"cores go elsewhere here: core_pattern is {pattern}")
    if subject.kind == "bare" and resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        impossible("RLIMIT_CORE is 0 here, and may not be raised")
    directory = Path(os.readlink(f"/proc/{subject.worker}/cwd"))
    with contextlib.suppress(OSError, ValueError):
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(subject.worker, resource.RLIMIT_CORE, unlimited)
    with subject.at_work():
        for number in FATAL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(subject.worker, number)
    serving = _serves(subject)
    search = subject.search()
    cores = list(directory.glob("*core*"))
    for core in cores:
        search.look(core.read_bytes())
        core.unlink()
    state = "goes on serving" if serving else "has ended"
    return found(search, f"{len(FATAL)} signals, {len(cores)} cores; the worker {state}")


def _serves(subject: Subject) -> bool:
    """Whether it still answers; one that is dying is waited for."""
    try:
        subject.use_keys()
    except Exception:
        assert wait_until(lambda: not subject.alive), "the worker neither serves nor ends"
        return False
    return True
