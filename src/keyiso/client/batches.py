"""Many hashes that are signed with one key, over the channels of a process.

They go in batches, and each channel has the next batch before it has answered the last one: no
worker waits for this process, and nobody is woken for a single signature.
"""

import select
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keyiso import limits
from keyiso.client.channel import KeyChannel
from keyiso.client.request import Request
from keyiso.crypto.signatures import Padding
from keyiso.wire.channel import SignBatch
from keyiso.wire.session import RemoteProtocolError

_UNDER_WAY: Final = 2
"""Batches on each channel: one that is worked on and the next one."""

_WORTH_A_CHANNEL: Final = 2
"""Batches that a further channel must have to be worth its making."""


@dataclass(slots=True)
class _Asked:
    """A batch that is under way: the hashes from ``first`` on."""

    first: int
    operation: SignBatch
    call_id: int = 0


class _Lane:
    """A channel, and what is under way on it."""

    def __init__(self, channel: KeyChannel, slot: int) -> None:
        self.channel = channel
        self.slot = slot
        self.asked: deque[_Asked] = deque()


class ManySignatures:
    """The signatures of many hashes, as far as they are made."""

    def __init__(self, digests: Sequence[bytes], padding: Padding, at_once: int) -> None:
        self.made = [b""] * len(digests)
        self._digests = digests
        self._padding = padding
        self._at_once = at_once
        self._todo: deque[tuple[int, int]] = deque()
        """Which ones, from the first to before the last."""
        if digests:
            self._todo.append((0, len(digests)))

    @property
    def missing(self) -> int:
        """How many signatures are still to be made."""
        return sum(end - first for first, end in self._todo)

    @property
    def channels(self) -> int:
        """How many channels would help."""
        return max(1, self.missing // self._at_once // _WORTH_A_CHANNEL)

    def make(self, request: Request, slots: Sequence[tuple[KeyChannel, int]]) -> None:
        """Make those that are missing, over channels with the key in a slot each.

        Whatever ends this early also ends every channel where an answer is still due, and what
        was under way there is missing again.
        """
        lanes = [_Lane(channel, slot) for channel, slot in slots]
        try:
            while self._ask(request, lanes):
                for lane in _answered(request, lanes):
                    self._take(request, lane)
        finally:
            for lane in lanes:
                self._give_up(lane)

    def _ask(self, request: Request, lanes: Sequence[_Lane]) -> bool:
        """Keep every channel supplied. Returns whether anything is under way."""
        for _ in range(_UNDER_WAY):
            for lane in lanes:
                if self._todo and len(lane.asked) < _UNDER_WAY:
                    asked = self._next_batch(lane.slot)
                    lane.asked.append(asked)
                    asked.call_id = request.post(lane.channel, asked.operation)
        return any(lane.asked for lane in lanes)

    def _next_batch(self, slot: int) -> _Asked:
        first, end = self._todo.popleft()
        last, room = first, limits.MESSAGE_BYTES
        while last < min(end, first + self._at_once):
            room -= len(self._digests[last])
            if room < 0 and last > first:
                break
            last += 1
        if last < end:
            self._todo.appendleft((last, end))
        return _Asked(first, SignBatch(slot, tuple(self._digests[first:last]), self._padding))

    def _take(self, request: Request, lane: _Lane) -> None:
        """Take the answer that is due next on a channel. It may be for some of what was asked."""
        asked = lane.asked[0]
        values = request.take(lane.channel, asked.operation, asked.call_id).values
        first, count = asked.first, len(values)
        if not 0 < count <= len(asked.operation.digests):
            raise RemoteProtocolError(f"{count} signatures are not what was asked for")
        lane.asked.popleft()
        self.made[first : first + count] = values
        self._put_back(first + count, first + len(asked.operation.digests))

    def _give_up(self, lane: _Lane) -> None:
        if lane.asked:
            lane.channel.close()
        for asked in reversed(lane.asked):
            self._put_back(asked.first, asked.first + len(asked.operation.digests))

    def _put_back(self, first: int, end: int) -> None:
        if first < end:
            self._todo.appendleft((first, end))


def _answered(request: Request, lanes: Sequence[_Lane]) -> Sequence[_Lane]:
    """The channels that have an answer; one that it is to be waited for, if there is no other."""
    busy = [lane for lane in lanes if lane.asked]
    if len(busy) == 1:
        return busy
    ready = [lane for lane in busy if lane.channel.connection.has_message]
    if ready:
        return ready
    waiting = select.poll()
    for lane in busy:
        waiting.register(lane.channel.connection, select.POLLIN)
    found = {descriptor for descriptor, _ in waiting.poll(request.left() * 1000)}
    if not found:
        raise request.silent(busy[0].channel)
    return [lane for lane in busy if lane.channel.connection.fileno() in found]
