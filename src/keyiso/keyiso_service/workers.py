"""The KeyIso service's links to its trustlet workers."""

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from keyiso import limits
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.turns import Turns, Wanted
from keyiso.quotas import Quotas
from keyiso.server.link import Link
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise, run_coroutine
from keyiso.server.startup import print_unexpected
from keyiso.status import Status
from keyiso.wire.messages import Operation, R_co
from keyiso.wire.operations import (
    USES_FEATURE,
    GetWorkerStatus,
    RenewLease,
    Revoke,
    SealProperty,
    TakeUses,
    Uses,
    WorkerStatus,
)

GENERATOR = "software-generator"
"""Does the work that takes longer than 20 ms, so that nobody waits behind it."""

_REVOCATIONS_AT_ONCE: Final = 64
_STATUSES_AT_ONCE: Final = 16
"""Requests that ask every worker, and so take a call of each link."""


class Workers:
    """All workers of one kind: those that hold loaded keys, and the generator."""

    def __init__(
        self,
        loop: Loop,
        service: str,
        sockets: Sequence[Path],
        revoked: Callable[[], tuple[bytes, ...]],
        used: Callable[[Uses], None],
        quotas: Quotas,
    ) -> None:
        self._loop = loop
        self._revoked = revoked
        self._used = used
        self._links = tuple(
            Link(
                loop,
                service,
                path,
                peer_service=path.stem,
                frame_bytes=limits.CONTROL_FRAME_BYTES,
                connected=self._connected,
            )
            for path in sockets
        )
        self._turn = itertools.count()
        self._turns = {link: Turns(limits.CALLS_PER_LINK) for link in self._links}
        generations = quotas.limit("generations_per_user")
        self._short_work, self._long_work = Turns(1, generations), Turns(1, generations)
        self._revocations, self._statuses = Turns(_REVOCATIONS_AT_ONCE), Turns(_STATUSES_AT_ONCE)
        self._properties = Turns(limits.PROPERTIES_AT_ONCE)
        self._renew_leases()

    @property
    def channels(self) -> int:
        """Workers that hold loaded keys."""
        return len(self._holders())

    def next_holder(self, avoid: Collection[bytes]) -> Link:
        """A worker for a new key channel, in turn, preferably none of those to avoid.

        Raises ``KEYISO_E_STALE`` while none is running.
        """
        ready = [link for link in self._holders() if link.ready]
        fresh = [link for link in ready if link.peer_instance not in avoid]
        return _in_turn(fresh or ready, next(self._turn))

    def with_instance(self, instance_id: bytes) -> Link:
        """The worker that is still the one the caller means. Raises ``KEYISO_E_STALE``."""
        for link in self._links:
            if link.ready and link.peer_instance == instance_id:
                return link
        raise _not_running()

    def any(self) -> Link:
        """A running worker. Raises ``KEYISO_E_STALE`` while there is none."""
        return _in_turn([link for link in self._links if link.ready], next(self._turn))

    def for_generation(self, algorithm: str) -> Link:
        """Who generates keys of this algorithm. Raises ``KEYISO_E_STALE``."""
        known = ALGORITHMS.get(algorithm)
        if known is None or known.slow_to_generate:
            return self.generator()
        return _in_turn([link for link in self._holders() if link.ready], next(self._turn))

    def generator(self) -> Link:
        """The generator, which also validates imports. Raises ``KEYISO_E_STALE``."""
        for link in self._links:
            if link.peer_service == GENERATOR and link.ready:
                return link
        raise _not_running()

    def turn(self, link: Link, client: Client) -> "_Turn":
        """A client's turn at a worker: ``async with`` it, and call."""
        return _Turn(self._turns[link], client.peer.uid, client.here)

    def turn_at(self, instance_id: bytes, client: Client) -> "_Turn":
        """The same by the worker's instance; for one that is not there nobody has to wait."""
        found = (link for link in self._links if link.peer_instance == instance_id)
        turns = next((self._turns[link] for link in found), None)
        return _Turn(turns, client.peer.uid, client.here)

    def working_turn(self, link: Link, client: Client, *, long: bool) -> "_Turn":
        """A client's turn to have a key made by a worker. The generator makes one at a time, and
        beside it one that takes long. Entering raises ``KEYISO_E_LIMIT`` when too many of the
        user wait already.
        """
        if link.peer_service != GENERATOR:
            return self.turn(link, client)
        turns = self._long_work if long else self._short_work
        return _Turn(turns, client.peer.uid, client.here)

    def property_turn(self, client: Client) -> "_Turn":
        """A client's turn to have a property sealed or opened: a few are, at a time, so that
        neither this service nor a link is full of them.
        """
        return _Turn(self._properties, client.peer.uid, client.here)

    async def revoke(
        self, uid: int, key_ids: tuple[bytes, ...], *, trace: str, hops: tuple[Hop, ...]
    ) -> None:
        """Take keys out of every worker. Returns when no worker holds them.

        A worker that ends meanwhile has lost its keys with its memory. One that is not reached
        is waited for: it may be alive and hold them.
        """
        async with _Turn(self._revocations, uid, _always):
            asked = [
                promise
                for part in _frames_of(key_ids)
                for promise in self._ask_all(Revoke(part), trace, hops)
            ]
            for link in self._links:
                await link.when_ready()  # whose connecting told it everything that is revoked
            for promise in asked:
                await _unless_ended(promise)

    async def seal_property(
        self,
        client: Client,
        operation: SealProperty,
        *,
        trace: str,
        hops: tuple[Hop, ...],
    ) -> bytes:
        """A property's value, sealed for the key of a blob."""
        async with self.property_turn(client):
            return (await self.ask_any(client, operation, trace=trace, hops=hops)).value

    async def ask_any(
        self, client: Client, operation: Operation[R_co], *, trace: str, hops: tuple[Hop, ...]
    ) -> R_co:
        """Have a running worker do something, when it is this client's turn."""
        worker = self.any()
        async with self.turn(worker, client):
            return await worker.call(operation, trace=trace, hops=hops)

    async def status(self, client: Client) -> tuple[WorkerStatus, ...]:
        """What every running worker says of itself."""
        async with _Turn(self._statuses, client.peer.uid, client.here):
            answers = [await _unless_ended(p) for p in self._ask_all(GetWorkerStatus(), "", ())]
        return tuple(answer for answer in answers if answer is not None)

    def _ask_all(
        self, operation: Operation[Any], trace: str, hops: tuple[Hop, ...]
    ) -> list[Promise[Any]]:
        return [link.call(operation, trace=trace, hops=hops) for link in self._links if link.ready]

    def _holders(self) -> list[Link]:
        return [link for link in self._links if link.peer_service != GENERATOR]

    def _connected(self, link: Link) -> None:
        """A worker that outlived a KeyIso service may hold what that one no longer revoked."""
        for part in _frames_of(self._revoked()):
            link.call(Revoke(part))
        link.call(RenewLease())
        if USES_FEATURE in link.peer_features:
            run_coroutine(self._take_uses(link), _print_defect)

    async def _take_uses(self, link: Link) -> None:
        """Ask what was done with keys, again and again, until the worker ends."""
        with contextlib.suppress(NCryptError):
            while True:
                self._used(await link.call(TakeUses()))

    def _renew_leases(self) -> None:
        for link in self._links:
            if link.ready:
                link.call(RenewLease())
        self._loop.call_later(limits.LEASE_SECONDS / _RENEWALS_PER_LEASE, self._renew_leases)


class _Turn:
    """Has a place for the time of an ``async with``."""

    def __init__(self, turns: Turns | None, uid: int, wanted: Wanted) -> None:
        self._turns = turns
        self._uid = uid
        self._wanted = wanted

    async def __aenter__(self) -> None:
        if self._turns is not None:
            await self._turns.take(self._uid, self._wanted)

    async def __aexit__(self, *exception: object) -> None:
        if self._turns is not None:
            self._turns.give_back()


def _always() -> bool:
    return True


_RENEWALS_PER_LEASE = 4

_REVOKED_AT_ONCE = 10_000
"""Key ids in one frame: 180 KiB."""


def _frames_of(key_ids: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    for start in range(0, len(key_ids), _REVOKED_AT_ONCE):
        yield key_ids[start : start + _REVOKED_AT_ONCE]


async def _unless_ended(promise: Promise[Any]) -> Any:
    try:
        return await promise
    except NCryptError as error:
        if error.status != Status.KEYISO_E_STALE:
            raise
        return None


def _print_defect(outcome: Callable[[], None]) -> None:
    try:
        outcome()
    except Exception as error:  # counting is not worth ending the service
        print_unexpected(error)


def _in_turn(links: Sequence[Link], turn: int) -> Link:
    if not links:
        raise _not_running()
    return links[turn % len(links)]


def _not_running() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_STALE,
        "the trustlet worker is being restarted",
        "Try again; `keyiso status` shows the processes.",
    )
