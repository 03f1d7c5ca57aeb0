"""Attacks that make the kernel write a core."""

import contextlib
import os
import resource
import shutil
import signal
from pathlib import Path

from tests.attack.outcome import Outcome, found, impossible
from tests.attack.target import Target, wait_until

PATTERN = Path("/proc/sys/kernel/core_pattern")

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


def dump_core(subject: Target) -> Outcome:
    """Raise RLIMIT_CORE from outside, want all of the memory in it, and send every signal that
    leaves a core.
    """
    pattern = PATTERN.read_text(encoding="utf-8").strip()
    if pattern.startswith("|") or "/" in pattern:
        impossible(f"cores go elsewhere here: core_pattern is {pattern}")
    if subject.kind == "bare" and resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        impossible("RLIMIT_CORE is 0 here, and may not be raised")
    with contextlib.suppress(OSError, ValueError):
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(subject.worker, resource.RLIMIT_CORE, unlimited)
    return _killed_for(subject)


def pipe_core(subject: Target) -> Outcome:
    """Have the kernel hand cores to a program, as most systems do: no limit holds for that."""
    pattern = PATTERN.read_text(encoding="utf-8")
    try:
        PATTERN.write_text(f"|{shutil.which('tee')} {subject.directory}/core", encoding="utf-8")
    except OSError as error:
        impossible(f"core_pattern cannot be set here: {error.strerror}")
    try:
        return _killed_for(subject)
    finally:
        PATTERN.write_text(pattern, encoding="utf-8")


def _killed_for(subject: Target) -> Outcome:
    """What the core has that is in the directory after all fatal signals."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{subject.worker}/coredump_filter").write_text("0x1ff")
    with subject.at_work():
        for number in FATAL:
            with contextlib.suppress(ProcessLookupError):
                os.kill(subject.worker, number)
    serving = _serves(subject)
    search = subject.search()
    cores = list(subject.directory.glob("*core*"))
    for core in cores:
        search.look(core.read_bytes())
        core.unlink()
    state = "goes on serving" if serving else "has ended"
    return found(search, f"{len(FATAL)} signals, {len(cores)} cores; the worker {state}")


def _serves(subject: Target) -> bool:
    """Whether the same processes still answer; those that are dying are waited for."""
    try:
        subject.use_keys()
    except Exception:
        assert wait_until(lambda: not subject.alive), "the worker neither serves nor ends"
    return subject.alive
