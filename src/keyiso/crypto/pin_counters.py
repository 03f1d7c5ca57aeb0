"""What counts wrong PINs, and how long it locks: two numbers, in a TPM's index or in a file.

While the count is below the limit, attempts are left. When it has come to the limit, the trustlet
writes the second at which the lock ends in its place, which is above every limit. When that has
come, it allows one more attempt, under a limit that is lower by one. So the limit says how often
there was a lock since the last right PIN, and after a right PIN there are never more attempts than
at first; and nothing about a lock stands in a file that somebody could replace by an older one.
"""

from dataclasses import dataclass

import msgspec

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.status import Status


@dataclass(frozen=True, slots=True)
class Counters:
    """Two numbers of 32 bits."""

    count: int
    """Wrong attempts since the last right one; above the limit, the second when a lock ends."""
    limit: int

    @property
    def is_locked(self) -> bool:
        return self.count >= self.limit

    @property
    def attempts_left(self) -> int:
        return max(0, self.limit - self.count)


class LockSchedule(msgspec.Struct, frozen=True, array_like=True):
    """When a container locks, and for how long.

    Raises ``NTE_INVALID_PARAMETER`` for what no counters can hold.
    """

    attempts: int = 5
    """Wrong PINs in a row that lock; then it is each single one."""
    backoff_seconds: tuple[int, ...] = (60, 300, 900, 3600, 4 * 3600)
    """Of the first lock, the second one and so on. The last one is for all others too."""

    def __post_init__(self) -> None:
        """Raises ``NTE_INVALID_PARAMETER``."""
        if (
            not 1 <= self.attempts <= limits.PIN_ATTEMPTS
            or not 1 <= len(self.backoff_seconds) <= limits.PIN_ATTEMPTS
            or min(self.backoff_seconds) <= self.attempts
            or max(self.backoff_seconds) > limits.PIN_BACKOFF_SECONDS
        ):
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                "a container cannot lock in this manner",
                f"PIN_ATTEMPTS is {limits.PIN_ATTEMPTS}, PIN_BACKOFF_SECONDS is"
                f" {limits.PIN_BACKOFF_SECONDS}; a lock lasts for more seconds than attempts.",
            )

    @property
    def fresh(self) -> Counters:
        """After a right PIN."""
        return Counters(0, self.attempts)

    def backoff(self, counters: Counters) -> int:
        """How long this lock lasts, in seconds."""
        locks_before = max(0, self.attempts - counters.limit)
        return self.backoff_seconds[min(locks_before, len(self.backoff_seconds) - 1)]

    def locked(self, counters: Counters, seconds: int) -> Counters:
        """A lock that begins now."""
        return Counters(seconds + self.backoff(counters), counters.limit)

    def one_more(self, counters: Counters) -> Counters:
        """After a lock."""
        limit = max(1, counters.limit - 1)
        return Counters(limit - 1, limit)
