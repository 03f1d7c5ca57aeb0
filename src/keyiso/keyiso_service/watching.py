"""Waiting for changes of keys (NCryptNotifyChangeKey)."""

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.wire.operations import Changes


class Watching:
    """Tells those who wait that the keys of a partition have changed.

    What is compared is a count in the store, so that a change during a restart is not missed.
    """

    def __init__(self, loop: Loop, store: KeyStore) -> None:
        self._loop = loop
        self._store = store
        self._waiting: dict[Promise[None], tuple[int, int]] = {}
        """Who waits, for which partition, since which count."""
        store.when_changed(self._changed)

    async def change(self, partition: int, since: int) -> Changes:
        """The count of changes, once it is another one; at the latest after ``WATCH_SECONDS``."""
        count = self._store.read.changes(partition)
        if count != since:
            return Changes(count)
        promise: Promise[None] = Promise()
        timer = self._loop.call_later(limits.WATCH_SECONDS, lambda: promise.keep(None))
        self._waiting[promise] = partition, since
        await promise
        timer.cancel()
        del self._waiting[promise]
        return Changes(self._store.read.changes(partition))

    def _changed(self) -> None:
        """Something was committed; whom it does not concern goes on waiting."""
        try:
            counts = {
                partition: self._store.read.changes(partition)
                for partition, _ in set(self._waiting.values())
            }
        except NCryptError:
            return  # they are told when their time is over
        for promise, (partition, since) in tuple(self._waiting.items()):
            if counts[partition] != since:
                promise.keep(None)
