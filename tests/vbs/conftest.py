"""An instance with armed workers, where this machine can have them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.router import process_router
from tests.instance import RunningInstance
from tests.roots.conftest import machine, other_tpm, swtpm

__all__ = ["machine", "other_tpm", "swtpm"]


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
