"""An event that is signalled when the keys of a scope change (NCryptNotifyChangeKey)."""

import contextlib
import os
import select
import threading
from dataclasses import replace
from typing import Final

from keyiso.client.request import Links, Request, Settings
from keyiso.client.trouble import Broken
from keyiso.closeable import Closeable
from keyiso.crypto.key_header import Scope
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.wire.control import AwaitChange

_PAUSE_SECONDS: Final = 0.5
"""Between two tries to reach a KeyIso service that is not there."""


class KeyChangeEvent(Closeable):
    """Wait for it with `wait`, or with ``select`` and the like by its descriptor.

    A thread asks the KeyIso service over a connection of its own. Changes while a service
    restarts are told when it is back; several changes may be told as one. What runs on is never
    started because somebody waits.
    """

    def __init__(self, settings: Settings, scope: Scope, count: int) -> None:
        self._settings = replace(settings, autostart=False)
        self._scope = scope
        self._count = count
        self._closed = False
        self._start()

    def fileno(self) -> int:
        """Readable when the event is signalled."""
        self._check_open()
        return self._eventfd

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a change, at most so many seconds, and reset the event. False: there was none.

        A forked child waits for itself: it is told of what changes from its first wait on.
        """
        self._check_open()
        if self._pid != os.getpid():
            self._start()
        readable, _, _ = select.select([self._eventfd], [], [], timeout)
        if readable:
            self.reset()
        return bool(readable)

    def reset(self) -> None:
        """The event is not signalled any more."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._eventfd)

    def close(self) -> None:
        """Wait no more; closing twice is no error."""
        if not self._closed:
            self._closed = True
            os.close(self._eventfd)

    def _start(self) -> None:
        self._pid = os.getpid()
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        signalled = os.dup(self._eventfd)  # the thread may outlive the event by a little
        threading.Thread(
            target=self._watch, args=(signalled,), name="key-changes", daemon=True
        ).start()

    def _watch(self, signalled: int) -> None:
        """Runs until the event is closed: the service answers every ``WATCH_SECONDS``."""
        links = Links(self._settings.random)
        try:
            while not self._closed:
                count = self._next_count(links)
                if count not in (None, self._count) and not self._closed:
                    os.eventfd_write(signalled, 1)
                if count is not None:
                    self._count = count
        finally:
            links.abandon()
            os.close(signalled)

    def _next_count(self, links: Links) -> int | None:
        request = Request(self._settings, links, "NotifyChangeKey")
        try:
            return request.control(AwaitChange(self._scope, self._count)).count
        except (Broken, NCryptError):
            self._settings.clock.sleep(_PAUSE_SECONDS)
            return None

    def _check_open(self) -> None:
        if self._closed:
            raise ncrypt_error(Status.NTE_INVALID_HANDLE, "the event was closed")
