"""The worker's side of arming."""

import os
import stat
from typing import Final

from keyiso.trustlet.arming.handshake import Step, handshake_of_worker
from keyiso.trustlet.arming.kernel import cannot_arm, forbid_dumps, this_machine
from keyiso.trustlet.arming.mappings import regions_of
from keyiso.trustlet.arming.randomness import reseed
from keyiso.trustlet.arming.seccomp import assemble, install
from keyiso.trustlet.arming.self_probes import (
    probe_core,
    probe_guard,
    probe_memory,
    probe_seccomp,
)
from keyiso.trustlet.arming.shields import Finding, missing
from keyiso.trustlet.arming.watcher import Watcher
from keyiso.trustlet.arming.worker_filter import worker_table


def become_armed() -> tuple[Finding, ...]:
    """Be armed: returns in a process whose memory is its own, with what was found of each shield.

    Everything has been opened, every thread started and every operation run once before
    (`warm_up`); no secret is here yet. Afterwards nothing can be opened, started or mapped, and
    random numbers are seeded anew.

    Raises `VbsUnavailableError` with what is missing. The process is of no use then and must end,
    by ``os._exit``.
    """
    guardian = os.getppid()
    handshake = handshake_of_worker()
    watcher = Watcher(guardian)
    handshake.say(Step.READY)
    handshake.wait_for(Step.MOVED)
    memory = probe_memory(regions_of("self"))
    thread = watcher.begin()
    handshake.say(Step.WATCHED, thread)
    handshake.wait_for(Step.GUARDING)
    handshake.connection.close()
    guard = probe_guard(guardian, thread)
    _check_descriptors()
    forbid_dumps()
    core = probe_core()
    install(assemble(worker_table(guardian), this_machine()))
    findings = (*memory, guard, probe_seccomp(), core)
    if absent := missing(findings):
        raise cannot_arm("; ".join(map(str, absent)))
    reseed()
    return findings


_STANDARD: Final = (0, 1, 2)
"""Standard input, output and error, which may be files."""

_EVENTS: Final = "anon_inode:[event"
"""What epoll(7) and eventfd(2) are named."""


def _check_descriptors() -> None:
    """Raise `VbsUnavailableError` for an open file: what is left of starting must be closed."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor in _STANDARD:
            continue
        try:
            mode = os.fstat(descriptor).st_mode
            name = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            continue  # that of the listing itself
        known = stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)
        if not known and not name.startswith(_EVENTS):
            raise cannot_arm(f"the worker has a file open: {name}")
