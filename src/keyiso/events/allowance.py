"""How many records one user may cause, so that nobody's failures push the others out of the log."""

from collections import OrderedDict

from keyiso import limits


class Allowance:
    """So many records at once, then so many a second, for each user."""

    def __init__(
        self,
        at_once: int = limits.EVENTS_AT_ONCE_PER_USER,
        per_second: float = limits.EVENTS_PER_SECOND_PER_USER,
    ) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self.suppressed = 0
        """What was not recorded, of all users."""
        self._users: OrderedDict[int, _Share] = OrderedDict()

    def take(self, uid: int, now: float, count: int = 1) -> int | None:
        """One more record, which stands for so many events; ``now`` is the monotonic time.

        Returns how many events of this user were not recorded since the last one that was, or
        None when this one is not to be recorded either.
        """
        share = self._users.setdefault(uid, _Share(self._at_once, self._per_second, now))
        self._users.move_to_end(uid)
        if len(self._users) > limits.EVENT_USERS:
            self._users.popitem(last=False)
        suppressed = share.take(now, count)
        if suppressed is None:
            self.suppressed += count
        return suppressed


class _Share:
    """What one user has left."""

    __slots__ = ("_left", "_most", "_per_second", "_since", "_suppressed")

    def __init__(self, most: float, per_second: float, now: float) -> None:
        self._left = self._most = most
        self._per_second = per_second
        self._since = now
        self._suppressed = 0

    def take(self, now: float, count: int) -> int | None:
        earned = (now - self._since) * self._per_second
        self._left, self._since = min(self._most, self._left + earned), now
        if self._left < 1:
            self._suppressed += count
            return None
        self._left -= 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
