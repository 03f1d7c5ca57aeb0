"""How long to wait before a service that ended is started again."""

from dataclasses import dataclass, replace
from typing import Final

LONG_LIFE_SECONDS: Final = 1.0
"""A service that ran this long ended for a reason of its own; its count begins anew."""

FREE_RESTARTS: Final = 3
"""Short lives in a row that are answered at once: a kill is not a fault of the service."""

FIRST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often in a row a service lived shortly."""

    short_lives: int = 0

    def after(self, lifetime: float) -> "Backoff":
        """The count after a life of so many seconds."""
        if lifetime >= LONG_LIFE_SECONDS:
            return Backoff()
        return replace(self, short_lives=self.short_lives + 1)

    @property
    def seconds(self) -> float:
        """The wait before the next start."""
        over = self.short_lives - FREE_RESTARTS
        if over <= 0:
            return 0.0
        return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(over - 1, 16))
