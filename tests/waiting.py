"""Waiting for what must come, with a deadline and without asserting a time."""

import time
from collections.abc import Callable

DEADLINE_SECONDS = 120.0
_PAUSE_SECONDS = 0.01


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Return when the condition holds. Fails the test when it does not within two minutes."""
    until = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < until, f"{what} did not come about"
        time.sleep(_PAUSE_SECONDS)
