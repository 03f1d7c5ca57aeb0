"""Running instances whose limits were lowered, so that a test can reach them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.instance import RunningInstance, in_use


def limited(*settings: str) -> tuple[str, ...]:
    """The options of a supervisor for limits as ``NAME=NUMBER``."""
    return tuple(f"--limit={setting}" for setting in settings)


@contextlib.contextmanager
def limited_instance(home: Path, *settings: str) -> Iterator[RunningInstance]:
    """An instance of one's own with lowered limits, that this process uses."""
    with in_use(RunningInstance(home, limited(*settings))) as running:
        yield running
