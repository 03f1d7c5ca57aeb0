"""How long and how often a client tries, and what it learned on the way."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keyiso import limits
from keyiso.clock import Clock
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.status import Status

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.25
"""Seconds between two tries. The first one is repeated at once: a service that was just
restarted already listens."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What a binding does about trouble."""

    deadline: float = limits.DEADLINE_SECONDS
    """Seconds after which an operation gives up; 0 switches re-binding off."""
    jitter: Callable[[], float] = random.random
    """0 to 1: many clients of one service do not come back in step."""

    def left(self, passed: float) -> float:
        """Seconds that the next wait may take, so many seconds after the operation began."""
        return max(0.001, self.deadline - passed) if self.deadline else limits.DEADLINE_SECONDS


def deadline_of(environ: Mapping[str, str]) -> float:
    """Seconds by ``KEYISO_DEADLINE``: the usual ones where it is no number of seconds, and at most
    `limits.LONGEST_DEADLINE_SECONDS`.
    """
    try:
        seconds = float(environ["KEYISO_DEADLINE"])
    except (KeyError, ValueError):
        return limits.DEADLINE_SECONDS
    if seconds >= 0:
        return min(seconds, limits.LONGEST_DEADLINE_SECONDS)
    return limits.DEADLINE_SECONDS


class Attempts:
    """The tries of one operation that began at ``began``, until its deadline."""

    def __init__(self, policy: RetryPolicy, clock: Clock, began: float) -> None:
        self._policy = policy
        self._clock = clock
        self._until = began + policy.deadline
        self._made = 0
        self._troubles: tuple[Hop, ...] = ()

    def again(
        self, trouble: Hop, cause: str, *, action: str = "", way: tuple[Hop, ...] = ()
    ) -> None:
        """Note what went wrong and pause. Raises when the deadline does not allow another try.

        The error is ``KEYISO_E_SERVICE_UNAVAILABLE`` with every process that was in trouble, and
        with the whole way to the last one.
        """
        if not self._troubles or self._troubles[-1] != trouble:
            self._troubles = (*self._troubles[-(limits.HOPS - 2) :], trouble)
        self._made += 1
        pause = self._pause()
        if self._clock.monotonic() + pause >= self._until:
            raise self._gave_up(cause, action, way or (trouble,))
        if pause:
            self._clock.sleep(pause)

    def _pause(self) -> float:
        if self._made <= 1:
            return 0.0
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._made - 2, 16))
        return longest * (0.5 + self._policy.jitter() / 2)

    def _gave_up(self, cause: str, action: str, way: tuple[Hop, ...]) -> NCryptError:
        waited = f" within {self._policy.deadline:g} s" if self._policy.deadline else ""
        before = self._troubles[:-1][-(limits.HOPS - len(way)) :] if len(way) < limits.HOPS else ()
        return ncrypt_error(
            Status.KEYISO_E_SERVICE_UNAVAILABLE,
            f"the operation could not be completed{waited}: {cause}",
            action
            or "See `keyiso status`; start the service with `keyiso serve` or your init system.",
            (*before, *way),
        )
