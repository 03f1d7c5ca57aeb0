"""An instance with armed workers, where this machine can have them."""

from collections.abc import Iterator

import pytest

from tests.instance import RunningInstance, in_use
from tests.roots.conftest import machine, other_tpm, swtpm

__all__ = ["machine", "other_tpm", "swtpm"]


@pytest.fixture(scope="module")
def vbs_instance(
    armed_machine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningInstance]:
    """For the tests of a module that leave it whole."""
    with in_use(RunningInstance(tmp_path_factory.mktemp("vbs") / "home")) as running:
        yield running
