"""What ``vbs`` costs besides the operations: arming, locked memory; and a TPM for comparison."""

import contextlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.operations import VBS_KEYS
from keyiso import Key, Protection
from keyiso.clock import SystemClock
from keyiso.errors import NCryptError
from keyiso.tpm.tpm import Tpm

_SIGNATURES: Final = 50


@dataclass(frozen=True)
class Isolation:
    """Of one run; empty where the machine arms no worker."""

    missing: str
    """Why there are no armed workers."""
    first_key_seconds: float = 0.0
    """From the first wish for a vbs key to the key: a pair was started and armed for it."""
    locked_mib: tuple[float, ...] = ()
    """Of each armed worker (VmLck)."""
    tpm_p256_ms: float | None = None
    """A P-256 signature by a key inside a TPM in software; None where swtpm is not installed."""

    def as_text(self) -> Iterator[str]:
        if self.missing:
            yield f"\nno armed workers here: {self.missing}"
            return
        locked = ", ".join(f"{one:.1f}" for one in self.locked_mib)
        yield f"\nfirst vbs key after {self.first_key_seconds:.2f} s; locked memory {locked} MiB"
        if self.tpm_p256_ms is not None:
            yield f"P-256 by a key inside a TPM in software: {self.tpm_p256_ms:.2f} ms"


def make_vbs_keys() -> tuple[float, str]:
    """Seconds until the first one was there, and why there are none."""
    started = time.perf_counter()
    try:
        Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS).close()
        seconds = time.perf_counter() - started
        for name, algorithm in VBS_KEYS.items():
            Key.create(name, algorithm, protection=Protection.REQUIRE_VBS, per_boot=True).close()
    except NCryptError as error:
        return 0.0, error.cause
    return seconds, ""


def locked_mib(pid: int) -> float:
    """Memory of a process that is locked, and so never on a disk."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmLck:"):
            return int(line.split()[1]) / 1024
    return 0.0


def tpm_signature_ms() -> float | None:
    """The median time of a P-256 signature inside swtpm."""
    if shutil.which("swtpm") is None:
        return None
    from bench.tpm import SIGNING_KEY, made_key, signing_command
    from keyiso.tpm.session import EmptyPassword
    from keyiso.tpm.srk import enrol_srk, held_srk

    with (
        _software_tpm() as tpm,
        held_srk(tpm, enrol_srk(tpm)) as parent,
        made_key(tpm, parent, SIGNING_KEY) as key,
    ):
        sign = signing_command(key)
        taken = []
        for _ in range(_SIGNATURES):
            start = time.perf_counter()
            tpm.run(sign, EmptyPassword())
            taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


@contextlib.contextmanager
def _software_tpm() -> Iterator[Tpm]:
    from tests.tpm.swtpm import Swtpm

    with tempfile.TemporaryDirectory(prefix="keyiso-bench-tpm-") as directory:
        process = Swtpm(Path(directory))
        try:
            process.boot()
            with process.transport() as transport:
                yield Tpm(transport, SystemClock())
        finally:
            process.power_off()
