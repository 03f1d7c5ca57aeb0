"""Who is next: users take turns, at a worker and at a name."""

from collections import deque
from collections.abc import Callable, Hashable

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.quotas import Limit
from keyiso.server.promise import Promise
from keyiso.status import Status

Wanted = Callable[[], bool]
"""Somebody still wants what is waited for."""


class Turns:
    """A number of places. Of those who wait for one, the users take turns.

    What nobody wants any more when its turn comes is not begun.
    """

    def __init__(self, places: int, waiting_per_user: Limit | None = None) -> None:
        self._places = places
        self._free = places
        self._waiting_per_user = waiting_per_user
        self._waiting: dict[int, deque[tuple[Promise[None], Wanted]]] = {}
        self._handing_out = False

    @property
    def idle(self) -> bool:
        """Nobody has a place or waits for one."""
        return self._free == self._places and not self._waiting

    async def take(self, uid: int, wanted: Wanted) -> None:
        """Wait for a place, and have it.

        Raises ``KEYISO_E_LIMIT`` when too many requests of the user wait already, and
        ``KEYISO_E_STALE`` for one that nobody wants any more.
        """
        if self._free and not self._waiting:
            self._free -= 1
            return
        self._check_room(uid)
        mine: Promise[None] = Promise()
        self._waiting.setdefault(uid, deque()).append((mine, wanted))
        await mine

    def give_back(self) -> None:
        """Let the next one have the place."""
        self._free += 1
        if self._handing_out:
            return  # who was just given a place gives it back at once: the loop below goes on
        self._handing_out = True
        while self._free and self._waiting:
            promise, wanted = self._next()
            if wanted():
                self._free -= 1
                promise.keep(None)
            else:
                promise.break_with(_gone())
        self._handing_out = False

    def _next(self) -> tuple[Promise[None], Wanted]:
        uid = next(iter(self._waiting))
        waiting = self._waiting.pop(uid)
        first = waiting.popleft()
        if waiting:
            self._waiting[uid] = waiting  # behind the other users
        return first

    def _check_room(self, uid: int) -> None:
        limit, waiting = self._waiting_per_user, self._waiting.get(uid)
        if limit is None or waiting is None or len(waiting) < limit.value:
            return
        for gone in [entry for entry in waiting if not entry[1]()]:
            waiting.remove(gone)
            gone[0].break_with(_gone())
        if len(waiting) >= limit.value:
            raise ncrypt_error(
                Status.KEYISO_E_LIMIT,
                f"uid {uid} has reached {limit.name} ({limit.value})",
                "Try again later.",
            )


class NamedTurns:
    """One turn at a time at each of many things: who waits does not work for nothing."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, Turns] = {}

    async def take(self, what: Hashable, uid: int, wanted: Wanted) -> None:
        """Wait until nobody has the turn, and have it."""
        await self._turns.setdefault(what, Turns(1)).take(uid, wanted)

    def give_back(self, what: Hashable) -> None:
        """Let the next one have it."""
        turns = self._turns[what]
        turns.give_back()
        if turns.idle and self._turns.get(what) is turns:
            del self._turns[what]


def _gone() -> NCryptError:
    return ncrypt_error(Status.KEYISO_E_STALE, "the client has gone")
