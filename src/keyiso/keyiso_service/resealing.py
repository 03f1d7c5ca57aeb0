"""Sealing stored keys by another machine root, after that was made."""

import enum
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import KeyHeader
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.finding import check_row
from keyiso.keyiso_service.key_changes import DAMAGED
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.keyiso_service.workers import Workers
from keyiso.server.identity import Identity
from keyiso.status import Status
from keyiso.store.keys import StoredKey, StoredProperty
from keyiso.store.writer import KeyTransaction
from keyiso.wire.control import NotResealed, ResealedKeys, ResealKeys
from keyiso.wire.link import Reseal, ResealProperty
from keyiso.wire.messages import Call

_TRIES: Final = 8
"""Rounds for a key that, at the commit, another request turns out to have changed."""


class _Outrun(Exception):
    """Another request changed the key while it was sealed."""


class _Outcome(enum.Enum):
    RESEALED = enum.auto()
    ALREADY = enum.auto()
    GONE = enum.auto()
    """It was deleted or replaced meanwhile; what replaced it is sealed by the newest root."""


class Resealing:
    """Goes through the stored ``vbs`` keys, each of which is replaced whole or not at all."""

    def __init__(
        self, identity: Identity, store: KeyStore, workers: Workers, audit: Audit, clock: Clock
    ) -> None:
        self._identity = identity
        self._store = store
        self._workers = workers
        self._audit = audit
        self._clock = clock

    async def reseal(self, client: Client, call: Call[ResealKeys]) -> ResealedKeys:
        """The next keys of the store. A damaged one stays as it is, and is named.

        Raises ``NTE_INVALID_PARAMETER`` for an id that is none, as `Workers.check_sealing_root`
        does, and what is not the fault of one key.
        """
        if len(call.operation.root_id) != limits.ROOT_ID_BYTES:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER, f"the id of a root has {limits.ROOT_ID_BYTES} bytes"
            )
        self._workers.check_sealing_root(call.operation.root_id)
        page = self._store.read.page_by_id(call.operation.after, limits.RESEAL_PAGE)
        until = self._clock.monotonic() + limits.RESEAL_SECONDS
        counts: Counter[_Outcome] = Counter()
        failed = []
        last = call.operation.after
        for stored in page:
            last = stored.key_id
            try:
                if _is_sealed_to_the_machine(read_header(stored.blob)):
                    counts[await self._reseal_key(client, call, stored)] += 1
            except NCryptError as error:
                if error.status not in DAMAGED:
                    raise
                name = stored.name[: 2 * limits.NAME_UNITS]  # of a row that anybody may have edited
                failed.append(NotResealed(stored.partition, name, error.status))
            if self._clock.monotonic() > until:
                break
        more = page and (len(page) == limits.RESEAL_PAGE or last != page[-1].key_id)
        return ResealedKeys(
            last if more else b"",
            counts[_Outcome.RESEALED],
            counts[_Outcome.ALREADY],
            tuple(failed),
        )

    async def _reseal_key(
        self, client: Client, call: Call[ResealKeys], found: StoredKey
    ) -> _Outcome:
        for _ in range(_TRIES):
            reader = self._store.read
            with reader.snapshot():
                key = reader.find(found.provider, found.partition, found.name)
                before = reader.properties(found.key_id)
            if key is None or key.key_id != found.key_id:
                return _Outcome.GONE
            header = read_header(key.blob)
            check_row(key, header)
            if header.root_id == call.operation.root_id:
                return _Outcome.ALREADY
            sealed, after = await self._sealed(client, call, key, header, before)
            try:
                await self._store.change(_commit(key, sealed, before, after))
            except _Outrun:
                continue
            self._audit.resealed(client, call, header)
            return _Outcome.RESEALED
        raise ncrypt_error(
            Status.KEYISO_E_STALE, "a key was changed again and again by others", "Try again."
        )

    async def _sealed(
        self,
        client: Client,
        call: Call[ResealKeys],
        key: StoredKey,
        header: KeyHeader,
        before: Mapping[bytes, bytes],
    ) -> tuple[StoredKey, Mapping[bytes, bytes]]:
        """The key and its properties under the root that is meant, all by one worker."""
        worker = self._workers.any("vbs")
        trace, hops = call.trace, self._hops(call)
        async with self._workers.turn(worker, client):
            reseal = Reseal(key.blob, call.operation.root_id)
            sealed = await worker.call(reseal, trace=trace, hops=hops)
        after = {}
        for name, value in before.items():
            async with self._workers.property_turn(client), self._workers.turn(worker, client):
                reseal_property = ResealProperty(sealed.blob, header.root_id, name, value)
                answer = await worker.call(reseal_property, trace=trace, hops=hops)
            after[name] = answer.value
        return replace(key, blob=sealed.blob, generation=sealed.header.generation), after

    def _hops(self, call: Call[ResealKeys]) -> tuple[Hop, ...]:
        return self._identity.onward(call.hops, type(call.operation).__name__)


def _is_sealed_to_the_machine(header: KeyHeader) -> bool:
    return header.level == "vbs" and header.root_kind == "machine"


def _commit(
    key: StoredKey, sealed: StoredKey, before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]
) -> Callable[[KeyTransaction], None]:
    """The transaction that replaces a key and its properties, if they are what was sealed anew."""

    def commit(change: KeyTransaction) -> None:
        present = change.find(key.provider, key.partition, key.name)
        if present != key or change.properties(key.key_id) != before:
            raise _Outrun
        change.update(sealed)
        for name, value in after.items():
            change.set_property(StoredProperty(key.key_id, name, key.partition, value))

    return commit
