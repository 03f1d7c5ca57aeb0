"""Machines of a test's own. A disk is made once; each machine starts with a copy."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.vm.disk_image import make_disk_image
from tests.vm.machine import Machine
from tests.vm.requirement import missing
from tests.vm.virtual_tpm import VirtualTpm

NewMachine = Callable[..., Machine]


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk with keyiso on it, on which nothing has run yet."""
    if why := missing():
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("disk")
    yield make_disk_image(directory)
    shutil.rmtree(directory)


@pytest.fixture
def new_machine(disk: Path, tmp_path: Path) -> Iterator[NewMachine]:
    """Makes machines that lose power with the test: with a new disk, or a copy of another one."""
    made: list[Machine] = []
    with ExitStack() as stack:

        def make(copied: Machine | None = None, **options: object) -> Machine:
            directory = tmp_path / f"machine-{len(made)}"
            made.append(Machine(directory, copied.disk if copied else disk, **options))  # type: ignore[arg-type]
            stack.callback(shutil.rmtree, directory)
            return stack.enter_context(made[-1])

        yield make


@pytest.fixture
def new_tpm(tmp_path: Path) -> Callable[[], VirtualTpm]:
    """Makes TPMs, each of another machine."""
    count = iter(range(100))
    return lambda: VirtualTpm(tmp_path / f"tpm-{next(count)}")
