"""The unsealed keys of a worker: slots of channels, bounded by memory, fair to users.

A slot belongs to one channel and means nothing on another. A slot that is gone, for whatever
reason, is STALE: its client opens the key again, which asks the KeyIso service for leave.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable
from typing import Final, TypeVar

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.server.shares import no_memory
from keyiso.status import Status
from keyiso.trustlet.engine import LoadedKey

Channel = Hashable
_Place = tuple[Channel, int]


_PARTS: Final = 8
"""Of the keys, one part makes way at a time: memory that single keys leave is in small pieces, and
to look whether it is enough takes longer than to load them again."""


def _never() -> bool:
    return False


class _Share:
    """What one user has loaded."""

    __slots__ = ("memory", "places", "uid")

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.memory = 0
        self.places: OrderedDict[_Place, None] = OrderedDict()
        """The longest unused one first."""


class KeyCache:
    """All loaded keys of one worker.

    When it is full, whose keys take the most memory loses the one of them that was not used for
    longest: who fills the cache evicts his own keys. ``is_short`` says whether memory runs out, for
    a worker that cannot get any more of it.
    """

    def __init__(
        self, capacity: int = limits.LOADED_KEY_BYTES, is_short: Callable[[], bool] = _never
    ) -> None:
        self._capacity = capacity
        self._is_short = is_short
        self._memory = 0
        self._shares: dict[int, _Share] = {}
        self._keys: dict[_Place, tuple[LoadedKey, _Share]] = {}
        self._slots: defaultdict[Channel, set[int]] = defaultdict(set)
        self._places: defaultdict[bytes, set[_Place]] = defaultdict(set)
        self._next_slot = 0

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, channel: Channel, uid: int, key: LoadedKey) -> int:
        """Put a key into a new slot of a user's channel; others make room.

        Raises ``NTE_NO_MEMORY`` for a key that would not fit into an empty cache.
        """
        if key.memory > self._capacity:
            raise ncrypt_error(Status.NTE_NO_MEMORY, "the key is larger than the worker's memory")
        while self._memory + key.memory > self._capacity:
            self._make_room(uid, key)
        self._next_slot += 1
        place = (channel, self._next_slot)
        share = self._shares.setdefault(uid, _Share(uid))
        share.places[place] = None
        share.memory += key.memory
        self._memory += key.memory
        self._keys[place] = key, share
        self._slots[channel].add(self._next_slot)
        self._places[key.header.key_id].add(place)
        return self._next_slot

    def use(self, channel: Channel, slot: int) -> LoadedKey:
        """The key in a slot. Raises ``KEYISO_E_STALE`` when it is not there."""
        place = (channel, slot)
        found = self._keys.get(place)
        if found is None:
            raise ncrypt_error(
                Status.KEYISO_E_STALE, f"slot {slot} of this channel holds no key any more"
            )
        key, share = found
        share.places.move_to_end(place)
        return key

    def get(self, channel: Channel, slot: int) -> LoadedKey | None:
        """The key in a slot, if there is one. It is not used by that."""
        found = self._keys.get((channel, slot))
        return None if found is None else found[0]

    def make_room(self) -> None:
        """See to it that there is memory for one more request; the longest unused keys make way.

        Raises ``NTE_NO_MEMORY`` when there is none although all of them have gone.
        """
        while self._is_short():
            if not self._keys:
                raise no_memory()
            for _ in range(-(-len(self._keys) // _PARTS)):
                largest = max(self._shares.values(), key=lambda share: share.memory)
                self._remove(next(iter(largest.places)))

    def release(self, channel: Channel, slot: int) -> None:
        """Empty a slot; an empty one is left as it is."""
        if (channel, slot) in self._keys:
            self._remove((channel, slot))

    def drop_channel(self, channel: Channel) -> None:
        """Empty all slots of a channel."""
        for slot in tuple(self._slots.get(channel, ())):
            self._remove((channel, slot))

    def revoke(self, key_id: bytes) -> None:
        """Empty every slot, of every channel, that holds this key."""
        for place in tuple(self._places.get(key_id, ())):
            self._remove(place)

    def _make_room(self, uid: int, key: LoadedKey) -> None:
        """Take a key from who would have the most, this one counted."""

        def memory(share: _Share) -> tuple[int, int]:
            return share.memory + (key.memory if share.uid == uid else 0), share.uid

        largest = max(self._shares.values(), key=memory)
        self._remove(next(iter(largest.places)))

    def _remove(self, place: _Place) -> None:
        channel, slot = place
        key, share = self._keys.pop(place)
        del share.places[place]
        share.memory -= key.memory
        if not share.places:
            del self._shares[share.uid]
        self._memory -= key.memory
        _discard(self._slots, channel, slot)
        _discard(self._places, key.header.key_id, place)


K = TypeVar("K")
V = TypeVar("V")


def _discard(index: defaultdict[K, set[V]], at: K, value: V) -> None:
    index[at].discard(value)
    if not index[at]:
        del index[at]
