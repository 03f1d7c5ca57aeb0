"""A key channel of this process: its connection and the slots of the keys loaded into it."""

import threading
import weakref
from collections import deque

from keyiso.client.connection import Connection
from keyiso.client.reference import KeyReference
from keyiso.wire.channel import Release
from keyiso.wire.control import Attached

_RELEASES_AT_ONCE = 64


class KeyChannel:
    """Whoever uses the channel holds its ``lock``."""

    def __init__(self, connection: Connection, attached: Attached) -> None:
        self.lock = threading.Lock()
        self.connection = connection
        self.channel_id = attached.channel_id
        self.worker_instance = attached.worker_instance
        self._slots: dict[int, int] = {}
        self.unused: deque[int] = deque()
        """Slots whose references have gone."""

    def slot_of(self, reference: KeyReference) -> int | None:
        """The slot that holds this key here."""
        return self._slots.get(id(reference))

    def keep(self, reference: KeyReference, slot: int) -> None:
        """Remember a slot for as long as the reference lives."""
        self._slots[id(reference)] = slot
        weakref.finalize(reference, self._reference_ended, id(reference)).atexit = False

    def forget(self, reference: KeyReference) -> None:
        """The worker no longer has the key."""
        self._slots.pop(id(reference), None)

    def releases(self) -> tuple[Release, ...]:
        """What to tell the worker with the next call: slots that nobody refers to any more."""
        count = min(len(self.unused), _RELEASES_AT_ONCE)
        return tuple(Release(self.unused.popleft()) for _ in range(count))

    def close(self) -> None:
        self.connection.close()

    def _reference_ended(self, identity: int) -> None:
        slot = self._slots.pop(identity, None)
        if slot is not None:
            self.unused.append(slot)
