"""Waiting for changes of keys (NCryptNotifyChangeKey)."""

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.wire.control import Changes


class Watching:
    """Tells those who wait that the keys of a partition have changed.

    What is compared is a count in the store, so that a change during a restart is not missed.
    """

    def __init__(self, loop: Loop, store: KeyStore) -> None:
        self._loop = loop
        self._store = store
        self._waiting: dict[int, dict[Promise[None], int]] = {}
        """Who waits for each partition, since which count."""
        store.when_changed(self._changed)

    async def change(self, partition: int, since: int) -> Changes:
        """The count of changes, once it is another one; at the latest after ``WATCH_SECONDS``."""
        count = self._store.read.changes(partition)
        if count != since:
            return Changes(count)
        promise: Promise[None] = Promise()
        timer = self._loop.call_later(limits.WATCH_SECONDS, lambda: promise.keep(None))
        waiting = self._waiting.setdefault(partition, {})
        waiting[promise] = since
        await promise
        timer.cancel()
        del waiting[promise]
        if not waiting:
            del self._waiting[partition]
        return Changes(self._store.read.changes(partition))

    def _changed(self) -> None:
        """Something was committed; whom it does not concern goes on waiting."""
        for partition, waiting in tuple(self._waiting.items()):
            try:
                count = self._store.read.changes(partition)
            except NCryptError:
                return  # they are told when their time is over
            for promise, since in tuple(waiting.items()):
                if since != count:
                    promise.keep(None)
