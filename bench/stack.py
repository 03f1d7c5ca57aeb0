"""An instance of keyiso for the bench, with its processes."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.isolation import Isolation, locked_mib, make_vbs_keys, tpm_signature_ms
from bench.operations import KEYS
from keyiso import Key
from keyiso.client.binding import bind_process, trusted_uids
from keyiso.client.supervision import stop_instance, supervisor_status
from keyiso.paths import Instance, client_instance
from keyiso.wire.control import GetServiceStatus

_START_SECONDS: Final = 60


@dataclass(frozen=True)
class Process:
    """A process of a stack that holds nothing and serves nobody."""

    service: str
    pid: int
    resident_mib: float
    private_mib: float
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Stack:
    """What runs, and what was found out about its armed workers."""

    processes: tuple[Process, ...]
    isolation: Isolation


@contextmanager
def running_stack() -> Iterator[Stack]:
    """A stack of its own, with the keys that are measured; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="keyiso-bench-") as home:
        os.environ["KEYISO_HOME"] = home
        started = [sys.executable, "-I", "-m", "keyiso.supervisor", "--detach"]
        subprocess.run(started, check=True, timeout=_START_SECONDS)
        instance = client_instance(os.environ)
        try:
            for name, algorithm in KEYS.items():
                Key.create(name, algorithm).close()
            seconds, missing = make_vbs_keys()
            pids = _pids(instance, with_pairs=not missing)
            processes = tuple(_process(service, pid) for service, pid in sorted(pids.items()))
            armed = [pid for service, pid in pids.items() if service.startswith("vbs-")]
            locked = tuple(locked_mib(pid) for pid in armed)
            tpm = None if missing else tpm_signature_ms()
            yield Stack(processes, Isolation(missing, seconds, locked, tpm))
        finally:
            stop_instance(instance, trusted_uids())


def _pids(instance: Instance, *, with_pairs: bool) -> dict[str, int]:
    """The processes, when all workers serve; of a pair the worker: its guardian does nothing."""
    status = supervisor_status(instance, trusted_uids())
    services = {entry.service for entry in status.processes}
    levels = ("software-", "vbs-") if with_pairs else ("software-",)
    workers = {service for service in services if service.startswith(levels)}
    binding = bind_process(os.environ)
    until = time.monotonic() + _START_SECONDS
    while {one.service for one in binding.control(GetServiceStatus()).workers} != workers:
        if time.monotonic() > until:
            raise RuntimeError("the workers do not come up")
        time.sleep(0.05)
    status = supervisor_status(instance, trusted_uids())
    pids = {entry.service: entry.worker_pid or entry.pid for entry in status.processes}
    return {**{name: pid for name, pid in pids.items() if pid}, "supervisor": status.pid}


def _process(service: str, pid: int) -> Process:
    proc = Path(f"/proc/{pid}")
    private = _kib(proc / "smaps_rollup", "Private_Dirty:") + _kib(
        proc / "smaps_rollup", "Private_Clean:"
    )
    return Process(
        service,
        pid,
        _kib(proc / "status", "VmRSS:") / 1024,
        private / 1024,
        len(list((proc / "fd").iterdir())),
        len(list((proc / "task").iterdir())),
    )


def _kib(path: Path, field: str) -> int:
    lines = path.read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(field))
