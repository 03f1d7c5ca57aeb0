"""Running instances whose limits were lowered, so that a test can reach them."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from keyiso.router import process_router
from tests.instance import RunningInstance

Running = TypeVar("Running", bound=RunningInstance)


def limited(*settings: str) -> tuple[str, ...]:
    """The options of a supervisor for limits as ``NAME=NUMBER``."""
    return tuple(f"--limit={setting}" for setting in settings)


@contextlib.contextmanager
def limited_instance(home: Path, *settings: str) -> Iterator[RunningInstance]:
    """An instance of one's own with lowered limits, that this process uses."""
    with in_use(RunningInstance(home, limited(*settings))) as running:
        yield running


@contextlib.contextmanager
def in_use(running: Running) -> Iterator[Running]:
    """Start an instance, and have this process and its children use it until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYISO_HOME", str(running.home))
        process_router.cache_clear()
        running.start()
        runtime = running.instance.runtime
        try:
            yield running
        finally:
            process_router.cache_clear()
            running.end()
            shutil.rmtree(runtime, ignore_errors=True)
