"""One request after the other for each name: who waits does not work for nothing."""

from collections.abc import Hashable

from keyiso.server.promise import Promise


class Turns:
    """Turns at things that are told apart by a key."""

    def __init__(self) -> None:
        self._taken: dict[Hashable, Promise[None]] = {}

    async def take(self, what: Hashable) -> None:
        """Wait until nobody has the turn, and have it."""
        while what in self._taken:
            await self._taken[what]
        self._taken[what] = Promise()

    def give_back(self, what: Hashable) -> None:
        """Let the next one have it."""
        self._taken.pop(what).keep(None)
