"""Time as a value that is passed in, so that tests can turn it."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the rest of keyiso may know about time. All values are in seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""

    def time(self) -> float:
        """Seconds since 1970-01-01 UTC; for records that people read, never for time-outs."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)
    time = staticmethod(time.time)  # last: it hides the module
