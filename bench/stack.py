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

from bench.operations import KEYS
from keyiso import Key
from keyiso.client.binding import bind_process, trusted_uids
from keyiso.client.supervision import stop_instance, supervisor_status
from keyiso.paths import Instance, client_instance
from keyiso.wire.operations import GetServiceStatus

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


@contextmanager
def running_stack() -> Iterator[tuple[Process, ...]]:
    """A stack of its own, with the keys that are measured; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="keyiso-bench-") as home:
        os.environ["KEYISO_HOME"] = home
        started = [sys.executable, "-I", "-m", "keyiso.supervisor", "--detach"]
        subprocess.run(started, check=True, timeout=_START_SECONDS)
        instance = client_instance(os.environ)
        try:
            for name, algorithm in KEYS.items():
                Key.create(name, algorithm).close()
            pids = _pids(instance)
            yield tuple(_process(service, pid) for service, pid in sorted(pids.items()))
        finally:
            stop_instance(instance, trusted_uids())


def _pids(instance: Instance) -> dict[str, int]:
    """The processes, when all workers serve."""
    status = supervisor_status(instance, trusted_uids())
    pids = {entry.service: entry.pid for entry in status.processes}
    workers = {service for service in pids if service.startswith("software-")}
    binding = bind_process(os.environ)
    until = time.monotonic() + _START_SECONDS
    while {one.service for one in binding.control(GetServiceStatus()).workers} != workers:
        if time.monotonic() > until:
            raise RuntimeError("the workers do not come up")
        time.sleep(0.05)
    return {**pids, "supervisor": status.pid}


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
