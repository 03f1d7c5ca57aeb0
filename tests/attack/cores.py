"""Attacks that make the kernel write a core."""

import contextlib
import os
import resource
import shutil
import signal
from pathlib import Path

from tests.attack.outcome import Outcome, found, impossible
from tests.attack.subject import Subject, wait_until

_PATTERN = Path("/proc/sys/kernel/core_pattern")

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
    """Raise RLIMIT_CORE from outside, want all of the memory in it, and send every signal that
    leaves a core.
    """
    pattern = _PATTERN.read_text(encoding="utf-8").strip()
    if pattern.startswith("|") or "/" in pattern:
        impossible(f"cores go elsewhere here: core_pattern is {pattern}")
    if subject.kind == "bare" and resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        impossible("RLIMIT_CORE is 0 here, and may not be raised")
    directory = Path(os.readlink(f"/proc/{subject.worker}/cwd"))
    with contextlib.suppress(OSError, ValueError):
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(subject.worker, resource.RLIMIT_CORE, unlimited)
    return _killed_for(subject, directory)


def pipe_core(subject: Subject) -> Outcome:
    """Have the kernel hand cores to a program, as most systems do: no limit holds for that."""
    directory = Path(os.readlink(f"/proc/{subject.worker}/cwd"))
    pattern = _PATTERN.read_text(encoding="utf-8")
    try:
        _PATTERN.write_text(f"|{shutil.which('tee')} {directory}/core", encoding="utf-8")
    except OSError as error:
        impossible(f"core_pattern cannot be set here: {error.strerror}")
    try:
        return _killed_for(subject, directory)
    finally:
        _PATTERN.write_text(pattern, encoding="utf-8")


def _killed_for(subject: Subject, directory: Path) -> Outcome:
    """What a core has that is in a directory after all fatal signals."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{subject.worker}/coredump_filter").write_text("0x1ff")
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
