"""Properties that are stored with a key, and its access list."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from keyiso import limits
from keyiso.crypto.key_header import Level, Right
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.keyiso_service.access import check_access_list, no_such_key
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.finding import find_key
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.keyiso_service.remembering import first_result, remember
from keyiso.keyiso_service.terms import check_operation_id, check_property, request_hash
from keyiso.keyiso_service.workers import Workers, level_of_blob
from keyiso.names import check_property_name, decode_name, printable_name
from keyiso.quotas import Quotas
from keyiso.server.identity import Identity
from keyiso.status import Status
from keyiso.store.keys import KeyReader, Remembered, StoredKey, StoredProperty
from keyiso.store.writer import KeyTransaction
from keyiso.wire.control import GetProperty, SetAccess, SetProperty
from keyiso.wire.link import ChangeAccess, OpenProperty, SealProperty
from keyiso.wire.messages import Call
from keyiso.wire.results import Done, PropertyValue

_TRIES: Final = 8
"""Rounds of a change that finds, at its commit, that another one was faster."""


_Edit = Callable[[KeyTransaction], StoredKey]
"""Does its part of a transaction, and gives the key as it is to be stored."""


class _Outrun(Exception):
    """Another request changed the key while this one's change was prepared."""


class PropertyChanges:
    """What can be changed of a key that is there."""

    def __init__(
        self,
        identity: Identity,
        store: KeyStore,
        workers: Workers,
        audit: Audit,
        quotas: Quotas,
    ) -> None:
        self._quotas = quotas
        self._identity = identity
        self._store = store
        self._workers = workers
        self._audit = audit

    async def get(self, client: Client, call: Call[GetProperty]) -> PropertyValue:
        """The value of a stored property. Raises ``NTE_NOT_FOUND`` where there is none."""
        operation = call.operation
        check_property_name(operation.property_name)
        async with self._workers.property_turn(client):
            reader = self._store.read
            with reader.snapshot():  # both are replaced together when a key is sealed anew
                stored = _find(reader, client, operation, Right.USE)
                sealed = reader.property_of(stored.key_id, operation.property_name)
            if sealed is None:
                name = printable_name(decode_name(operation.property_name))
                raise ncrypt_error(Status.NTE_NOT_FOUND, f"the key has no property '{name}'")
            return await self._workers.ask_any(
                client,
                OpenProperty(stored.blob, operation.property_name, sealed),
                level_of_blob(stored.blob),
                trace=call.trace,
                hops=self._hops(call),
            )

    async def set(self, client: Client, call: Call[SetProperty]) -> Done:
        """Store a property; of the same name there is one."""
        operation = call.operation
        check_property(operation.property_name, operation.value)

        async def prepare(key: StoredKey) -> _Edit:
            sealed = await self._workers.seal_property(
                client,
                SealProperty(key.blob, operation.property_name, operation.value),
                trace=call.trace,
                hops=self._hops(call),
            )
            stored = StoredProperty(key.key_id, operation.property_name, key.partition, sealed)

            def edit(change: KeyTransaction) -> StoredKey:
                set_property(change, stored)
                return key

            return edit

        return await self._change(client, call, prepare)

    async def set_access(self, client: Client, call: Call[SetAccess]) -> Done:
        """Replace the access list; nobody uses what was loaded under the old one."""
        access, boot_id = call.operation.access, self._identity.boot_id
        check_access_list(access)
        level: Level | None = None

        async def prepare(key: StoredKey) -> _Edit:
            nonlocal level
            level = level_of_blob(key.blob)
            sealed = await self._workers.ask_any(
                client,
                ChangeAccess(key.blob, access),
                level,
                trace=call.trace,
                hops=self._hops(call),
            )

            def edit(change: KeyTransaction) -> StoredKey:
                change.revoke(key.key_id, boot_id)
                return replace(key, blob=sealed.blob, generation=sealed.header.generation)

            return edit

        done = await self._change(client, call, prepare)
        key_ids = (call.operation.key_id,)
        uid = client.peer.uid
        await self._workers.revoke(uid, key_ids, level, trace=call.trace, hops=self._hops(call))
        self._store.revoked_everywhere(key_ids)
        return done

    async def _change(
        self,
        client: Client,
        call: Call[SetProperty] | Call[SetAccess],
        prepare: Callable[[StoredKey], Awaitable[_Edit]],
    ) -> Done:
        """Have a worker prepare an edit of the key as it is, and commit it if it still is so."""
        try:
            repeated = await self._change_once(client, call, prepare)
        except NCryptError as error:
            if error.status != Status.KEYISO_E_STALE:
                self._audit.change_failed(client, call, error)
            raise
        self._audit.changed(client, call, repeated=repeated)
        return Done()

    async def _change_once(
        self,
        client: Client,
        call: Call[SetProperty] | Call[SetAccess],
        prepare: Callable[[StoredKey], Awaitable[_Edit]],
    ) -> bool:
        """Whether it had been made before, by a request whose answer was lost."""
        operation, uid = call.operation, client.peer.uid
        check_operation_id(operation.operation_id)
        hashed = request_hash(operation)
        for _ in range(_TRIES):
            if first_result(self._store.read, uid, operation.operation_id, hashed) is not None:
                return True
            key = _find(self._store.read, client, operation, Right.MANAGE)
            edit = await prepare(key)
            try:
                await self._store.change(self._commit(operation, uid, hashed, key, edit))
            except _Outrun:
                continue
            return False
        raise ncrypt_error(
            Status.NTE_FAIL, "the key was changed again and again by others", "Try again."
        )

    def _commit(
        self,
        operation: SetProperty | SetAccess,
        uid: int,
        hashed: bytes,
        key: StoredKey,
        edit: _Edit,
    ) -> Callable[[KeyTransaction], None]:
        """The transaction that makes the change once, and only of the key that was prepared."""

        def commit(change: KeyTransaction) -> None:
            if first_result(change, uid, operation.operation_id, hashed) is not None:
                return  # the same request, twice on its way
            present = change.find(key.provider, key.partition, key.name)
            if present is None or present.key_id != key.key_id:
                raise no_such_key(operation.scope, operation.name)
            if present.generation != key.generation:
                raise _Outrun
            change.update(replace(edit(change), modified=change.now))
            first = Remembered(hashed, b"")
            remember(change, uid, operation.operation_id, first, self._quotas)

        return commit

    def _hops(self, call: Call[Any]) -> tuple[Hop, ...]:
        return self._identity.onward(call.hops, type(call.operation).__name__)


def _find(
    reader: KeyReader,
    client: Client,
    operation: GetProperty | SetProperty | SetAccess,
    right: Right,
) -> StoredKey:
    """The key that is meant, if this client has the right to it."""
    scope, name = operation.scope, operation.name
    stored, _ = find_key(reader, client, operation.provider, scope, name, right)
    if stored.key_id != operation.key_id:
        raise no_such_key(scope, name)
    return stored


def set_property(change: KeyTransaction, stored: StoredProperty) -> None:
    """Store a property within what a key and its owner may have.

    Raises ``KEYISO_E_LIMIT`` above ``PROPERTIES_PER_KEY``, ``PROPERTY_BYTES_PER_KEY`` or
    ``PROPERTY_BYTES_PER_USER``.
    """
    sizes = change.property_sizes(stored.key_id)
    replaced, added = sizes.pop(stored.name, 0), len(stored.value)
    if len(sizes) >= limits.PROPERTIES_PER_KEY:
        raise _full("PROPERTIES_PER_KEY", limits.PROPERTIES_PER_KEY)
    if sum(sizes.values()) + added > limits.PROPERTY_BYTES_PER_KEY:
        raise _full("PROPERTY_BYTES_PER_KEY", limits.PROPERTY_BYTES_PER_KEY)
    if change.property_bytes(stored.partition) - replaced + added > limits.PROPERTY_BYTES_PER_USER:
        raise _full("PROPERTY_BYTES_PER_USER", limits.PROPERTY_BYTES_PER_USER)
    change.set_property(stored)


def _full(name: str, limit: int) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_LIMIT,
        f"with this property the key's would be more than {name} ({limit})",
        "Keep large data elsewhere; properties go when their key is deleted.",
    )
