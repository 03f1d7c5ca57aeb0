"""Ephemeral keys: recorded while they are alive, and ended with their client.

A client is alive while it has a connection or one of its processes runs. Neither is asked for
more often than needed: what was left is looked at when a grace period has passed.
"""

import hmac
import itertools
from collections import Counter
from typing import Any, Final

from keyiso.crypto.key_header import KeyHeader
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.workers import Workers, level_of_blob
from keyiso.quotas import Quotas
from keyiso.server.identity import Identity
from keyiso.server.loop import Loop
from keyiso.server.peer import start_of
from keyiso.status import Status
from keyiso.store.ephemerals import ClientProcess, EphemeralClient, EphemeralStore
from keyiso.wire.control import ReleaseEphemeral
from keyiso.wire.link import Authenticate
from keyiso.wire.messages import Call
from keyiso.wire.results import Done

_LOOKS_PER_GRACE: Final = 4
_LOOKED_AT_ONCE: Final = 64
"""Clients; the others wait for the next round, so that nobody waits for them."""


class EphemeralKeys:
    """The ephemeral keys of one KeyIso service."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        store: EphemeralStore,
        workers: Workers,
        quotas: Quotas,
    ) -> None:
        self._loop = loop
        self._identity = identity
        self._store = store
        self._workers = workers
        self._quotas = quotas
        self._connections: Counter[EphemeralClient] = Counter()
        self._left: dict[EphemeralClient, float] = {}
        """Who has keys and no connection, since when; who left first comes first."""
        self._learned = False
        """Who had keys before this service, or the database, was there is among them."""
        self._look_later(quotas.ephemeral_grace_seconds / _LOOKS_PER_GRACE)

    # --- keys ----------------------------------------------------------------------------------

    def check_room(self, client: Client) -> None:
        """Raise ``KEYISO_E_LIMIT`` for a user who has too many keys."""
        limit = self._quotas.limit("ephemerals_per_user")
        if self._store.count(client.peer.uid) >= limit.value:
            raise ncrypt_error(
                Status.KEYISO_E_LIMIT,
                f"uid {client.peer.uid} has {limit.name} ({limit.value}) ephemeral keys",
                "Free some: they end when their handle is freed, or their process ends.",
            )

    def add(self, client: Client, header: KeyHeader) -> None:
        """A new key of a client, before anybody hears of it."""
        self.check_room(client)
        owner = _owner(client)
        self._see(owner, client.peer.pid)
        self._store.add(header.key_id, owner)

    def check_alive(self, header: KeyHeader) -> None:
        """Raise ``KEYISO_E_EPHEMERAL_GONE`` for a key that was freed."""
        if not self._store.is_alive(header.key_id):
            raise _gone()

    async def release(self, client: Client, call: Call[ReleaseEphemeral]) -> Done:
        """End a key for good; one that ended before stays ended."""
        header = await self.authenticated(client, call.operation.blob, call)
        self._store.remove(header.key_id)
        hops = self._identity.onward(call.hops, "ReleaseEphemeral")
        await self._workers.revoke(
            client.peer.uid, (header.key_id,), header.level, trace=call.trace, hops=hops
        )
        return Done()

    async def authenticated(self, client: Client, blob: bytes, call: Call[Any]) -> KeyHeader:
        """The header of this client's own key, which may have ended.

        Raises ``KEYISO_E_EPHEMERAL_GONE`` for a key of somebody else.
        """
        # What is no blob is not worth a worker's time.
        worker = self._workers.any(level_of_blob(blob))
        hops = self._identity.onward(call.hops, type(call.operation).__name__)
        async with self._workers.turn(worker, client):
            answer = await worker.call(Authenticate(blob), trace=call.trace, hops=hops)
        header = answer.header
        if (
            header.lifetime != "ephemeral"
            or header.owner != client.peer.uid
            or not hmac.compare_digest(header.client_group, client.group)
        ):
            raise _gone()
        return header

    # --- clients -------------------------------------------------------------------------------

    def client_came(self, client: Client) -> None:
        """A connection was bound. Of a process that is new here, a forked child say, the keys
        of its client depend from now on.
        """
        owner = _owner(client)
        self._connections[owner] += 1
        self._left.pop(owner, None)
        try:
            if self._store.has_keys(owner):
                self._see(owner, client.peer.pid)
        except NCryptError:
            pass  # who needs the keys is told; binding does not

    def client_left(self, client: Client) -> None:
        """A bound connection ended, or is another client's from now on."""
        owner = _owner(client)
        self._connections[owner] -= 1
        if self._connections[owner]:
            return
        del self._connections[owner]
        try:
            if self._store.has_keys(owner):
                self._left[owner] = self._loop.clock.monotonic()
        except NCryptError:
            self._learned = False

    def _see(self, owner: EphemeralClient, pid: int) -> None:
        started = start_of(pid)
        if started is not None:
            self._store.see(owner, ClientProcess(pid, started))

    def _look_later(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """End the keys of clients that have ended."""
        pause = self._quotas.ephemeral_grace_seconds / _LOOKS_PER_GRACE
        try:
            self._learn_who_left()
            if self._end_some():
                pause = 0.0
        except NCryptError:
            pass  # the next look will do
        self._look_later(pause)

    def _learn_who_left(self) -> None:
        """Who has keys, and nobody saw leave: since an earlier KeyIso service, mostly."""
        if not self._learned:
            now = self._loop.clock.monotonic()
            for owner in self._store.clients():
                if owner not in self._connections:
                    self._left.setdefault(owner, now)
            self._learned = True

    def _end_some(self) -> bool:
        """True when there may be more to end."""
        now = self._loop.clock.monotonic()
        long_ago = now - self._quotas.ephemeral_grace_seconds
        first = tuple(itertools.islice(self._left.items(), _LOOKED_AT_ONCE))
        due = [owner for owner, since in first if since <= long_ago]
        for owner in due:
            if any(start_of(one.pid) == one.started for one in self._store.processes(owner)):
                del self._left[owner]
                self._left[owner] = now  # it may not know that the service was restarted
            else:
                self._store.remove_client(owner)
                del self._left[owner]
        return len(due) == _LOOKED_AT_ONCE


def _owner(client: Client) -> EphemeralClient:
    return EphemeralClient(client.peer.uid, client.group)


def _gone() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_EPHEMERAL_GONE,
        "the ephemeral key was freed or is not one of this client",
        "Create a new key.",
    )
