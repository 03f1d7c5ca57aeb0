"""An instance with armed workers, where this machine can have them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.router import process_router
from keyiso.trustlet.arming.probes import probe_machine
from keyiso.trustlet.arming.shields import ARMED, missing
from tests.instance import RunningInstance
from tests.roots.conftest import machine, other_tpm, swtpm

__all__ = ["machine", "other_tpm", "swtpm"]


@pytest.fixture(scope="session")
def armed_machine() -> None:
    """Skips what needs an armed worker, and says why."""
    if absent := missing(probe_machine(), ARMED):
        pytest.skip(f"this machine arms no worker: {'; '.join(map(str, absent))}")


@pytest.fixture(scope="module")
def vbs_instance(
    armed_machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningInstance]:
    """For the tests of a module that leave it whole."""
    home: Path = tmp_path_factory.mktemp("vbs") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYISO_HOME", str(home))
        process_router.cache_clear()
        running = RunningInstance(home)
        running.start()
        try:
            yield running
        finally:
            process_router.cache_clear()
            running.end()
