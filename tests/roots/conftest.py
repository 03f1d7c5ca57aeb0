"""A keyiso of its own with a TPM in software, where processes can be armed."""

import functools
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.trustlet.arming.memory_lock import may_lock_everything
from keyiso.trustlet.arming.probes import probe_machine
from keyiso.trustlet.arming.shields import missing
from tests.roots.machine import EnrolledMachine
from tests.tpm import swtpm as software_tpm
from tests.tpm.conftest import swtpm
from tests.tpm.swtpm import Swtpm

__all__ = ["swtpm"]


@functools.cache
def why_not_armed() -> str:
    """What is in the way of arming here; empty where nothing is."""
    _, limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if not may_lock_everything("self") and 0 <= limit < 64 << 20:
        return f"RLIMIT_MEMLOCK is {limit >> 20} MiB here: run as root, or raise it"
    return "; ".join(map(str, missing(probe_machine())))


@pytest.fixture
def machine(
    swtpm: Swtpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EnrolledMachine]:
    """A machine on which nothing is enrolled yet."""
    if reason := why_not_armed():
        pytest.skip(f"no process can be armed here: {reason}")
    monkeypatch.setenv("KEYISO_HOME", str(tmp_path / "home"))
    yield EnrolledMachine(swtpm, tmp_path)


@pytest.fixture
def other_tpm(tmp_path: Path) -> Iterator[Swtpm]:
    """That of another machine."""
    if software_tpm.missing:
        pytest.skip(software_tpm.SKIP_REASON)
    (tmp_path / "other").mkdir()
    process = Swtpm(tmp_path / "other")
    try:
        process.boot()
        yield process
    finally:
        process.power_off()
