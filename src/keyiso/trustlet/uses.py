"""What is done with a worker's keys, counted until the KeyIso service asks.

Counting must not slow a signature down, and nobody may fill the worker's memory: a use is one
increment, and what finds no room is only counted as lost.
"""

from collections.abc import Callable
from dataclasses import dataclass

from keyiso import limits
from keyiso.crypto.key_header import KeyHeader
from keyiso.server.promise import Promise
from keyiso.wire.channel import Sign, SignBatch
from keyiso.wire.link import FailedUse, KeyUse, Uses


@dataclass(frozen=True, slots=True)
class ChannelUser:
    """Who is at the other end of a key channel, as the KeyIso service told."""

    channel_id: bytes
    uid: int
    pid: int
    process: str
    connection_id: bytes
    """Of the control connection that asked for the channel."""


@dataclass(slots=True)
class _Failures:
    """Equal failures."""

    user: ChannelUser
    header: KeyHeader
    function: str
    status: int
    count: int = 0
    trace: str = ""


class UseCounts:
    """Counts uses and failures between one batch and the next.

    ``begun`` is called when there is something to tell after there was nothing.
    """

    def __init__(self, begun: Callable[[], object]) -> None:
        self.made: dict[tuple[bytes, type], int] = {}
        """Uses, by key id and operation. `begin` makes an entry, which is then incremented."""
        self.failures = 0
        """Since the start."""
        self.lost = 0
        """Uses without an entry, and failures that no batch tells of; since the start."""
        self._begun = begun
        self._failed: dict[tuple[ChannelUser, bytes, type, int], _Failures] = {}
        self._taken = 0
        self._lost_taken = 0
        self._due = False
        self._told: Promise[None] = Promise()

    @property
    def total(self) -> int:
        """Uses since the start."""
        return self._taken + sum(self.made.values())

    def begin(self, use: tuple[bytes, type]) -> None:
        """Count the first use of its kind since the last batch."""
        if len(self.made) >= limits.USES_PER_BATCH:
            self._taken += 1
            self.lost += 1
            return
        if not self.made:
            self._begun()
        self.made[use] = 1
        if len(self.made) == limits.USES_PER_BATCH:
            self.tell()

    def count_more(self, use: tuple[bytes, type], count: int) -> None:
        """Count further uses of a kind that was just counted."""
        if use in self.made:
            self.made[use] += count
        else:
            self._taken += count
            self.lost += count

    def fail(
        self, user: ChannelUser, header: KeyHeader, operation: type, status: int, trace: str
    ) -> None:
        """Count that a use failed."""
        self.failures += 1
        kind = user, header.key_id, operation, status
        if kind not in self._failed:
            if len(self._failed) >= limits.FAILED_USES_PER_BATCH:
                self.lost += 1
                return
            if not self.made and not self._failed:
                self._begun()  # its use went with the last batch
            self._failed[kind] = _Failures(user, header, _function(operation), status)
        failures = self._failed[kind]
        failures.count += 1
        failures.trace = trace
        if len(self._failed) == limits.FAILED_USES_PER_BATCH:
            self.tell()

    def tell(self) -> None:
        """Whoever waits for uses, or asks next, is to have them now."""
        if self.made or self._failed:
            self._due = True
            told, self._told = self._told, Promise()
            told.keep(None)

    async def due(self) -> None:
        """Wait until there is something that is to be told now."""
        while not self._due:
            await self._told

    def take(self) -> Uses:
        """Everything since the last batch."""
        made, self.made = self.made, {}
        failed, self._failed = self._failed, {}
        lost, self._lost_taken = self.lost - self._lost_taken, self.lost
        self._taken += sum(made.values())
        self._due = False
        return Uses(
            tuple(
                KeyUse(key_id, _function(operation), count)
                for (key_id, operation), count in made.items()
            ),
            tuple(map(_failed_use, failed.values())),
            lost,
        )


def _function(operation: type) -> str:
    """What is done. It is no matter in how many calls."""
    return Sign.__name__ if operation is SignBatch else operation.__name__


def _failed_use(failures: _Failures) -> FailedUse:
    user, header = failures.user, failures.header
    return FailedUse(
        uid=user.uid,
        pid=user.pid,
        process=user.process,
        provider=header.provider,
        scope=header.scope,
        name=header.name,
        key_id=header.key_id,
        algorithm=header.algorithm,
        function=failures.function,
        status=failures.status,
        count=failures.count,
        trace=failures.trace,
    )
