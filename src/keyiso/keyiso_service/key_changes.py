"""Creating, importing, deleting keys: changes of the store that are made once.

Every change carries an operation id, which is committed with it: a repeat after a lost answer
returns the first result. A change that takes a key away revokes it in every worker before the
caller hears of success.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from keyiso.crypto.algorithms import takes_long_to_generate
from keyiso.crypto.import_seal import check_import_length, takes_long_to_validate
from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import KeyHeader, Level, Right, Scope
from keyiso.crypto.levels import check_not_lowered
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.keyiso_service.access import Authority, check_access, no_such_key
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.ephemeral_keys import EphemeralKeys
from keyiso.keyiso_service.finding import check_row, partition_of
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.keyiso_service.property_changes import set_property
from keyiso.keyiso_service.remembering import first_result, remember, too_many
from keyiso.keyiso_service.terms import (
    LEVELS,
    check_container,
    check_operation_id,
    check_properties,
    check_provider,
    check_terms,
    request_hash,
)
from keyiso.keyiso_service.turns import NamedTurns
from keyiso.keyiso_service.workers import Workers
from keyiso.names import check_name
from keyiso.quotas import Quotas
from keyiso.server.identity import Identity
from keyiso.status import Status
from keyiso.store.keys import KeyReader, Remembered, StoredKey, StoredProperty
from keyiso.store.writer import KeyTransaction
from keyiso.wire.control import Created, CreateKey, DeleteKey, ImportKey
from keyiso.wire.key_terms import KeyGrant, KeyProperty, KeyTerms
from keyiso.wire.link import Authenticate, Generate, Import, Sealed, SealProperty
from keyiso.wire.messages import Call
from keyiso.wire.results import Done

_OVERWRITE_TRIES: Final = 8
"""Rounds of an overwrite that finds, at its commit, that another one was faster."""

DAMAGED: Final = frozenset(
    {Status.NTE_BAD_DATA, Status.NTE_BAD_VER, Status.NTE_VBS_CANNOT_DECRYPT_KEY}
)
"""What is said of a stored key that cannot be read, whatever is restored beside it."""

Maker = Callable[[KeyGrant], Awaitable[Sealed]]
"""Has a worker make a key under the grant."""


class _Outrun(Exception):
    """Another request replaced the key while this one's was made."""


class KeyChanges:
    """The changes of one KeyIso service."""

    def __init__(
        self,
        identity: Identity,
        store: KeyStore,
        workers: Workers,
        authority: Authority,
        ephemerals: EphemeralKeys,
        audit: Audit,
        quotas: Quotas,
    ) -> None:
        self._ephemerals = ephemerals
        self._quotas = quotas
        self._identity = identity
        self._store = store
        self._workers = workers
        self._authority = authority
        self._audit = audit
        self._turns = NamedTurns()

    async def create(self, client: Client, call: Call[CreateKey]) -> Created:
        """Generate a key and, unless it is ephemeral, store it."""
        operation = call.operation

        async def generate(grant: KeyGrant) -> Sealed:
            terms = operation.terms
            if operation.ticket:
                worker = self._workers.passport()
            else:
                worker = self._workers.for_generation(terms.algorithm, terms.level)
            long = takes_long_to_generate(terms.algorithm, terms.bits)
            async with self._workers.working_turn(worker, client, long=long):
                return await worker.call(
                    Generate(terms, grant, operation.ticket),
                    trace=call.trace,
                    hops=self._hops(call),
                )

        return await self._make(
            _Wish(client, call, operation.terms, operation.properties, generate)
        )

    async def import_key(self, client: Client, call: Call[ImportKey]) -> Created:
        """Have a worker take over a key that was sealed to it, and store it."""
        operation = call.operation

        async def take_over(grant: KeyGrant) -> Sealed:
            check_import_length(operation.sealed)
            worker = self._workers.with_instance(operation.worker_instance)
            long = takes_long_to_validate(operation.sealed)
            async with self._workers.working_turn(worker, client, long=long):
                return await worker.call(
                    Import(operation.terms, grant, operation.sealed),
                    trace=call.trace,
                    hops=self._hops(call),
                )

        return await self._make(
            _Wish(client, call, operation.terms, operation.properties, take_over)
        )

    async def delete(self, client: Client, call: Call[DeleteKey]) -> Done:
        """Delete exactly the key that is meant."""
        try:
            return await self._delete(client, call)
        except NCryptError as error:
            if error.status != Status.KEYISO_E_STALE:
                self._audit.delete_failed(client, call, error)
            raise

    async def _make(self, wish: "_Wish") -> Created:
        client, terms = wish.client, wish.terms
        try:
            operation = wish.call.operation
            imported = isinstance(operation, ImportKey)
            ticket = b"" if isinstance(operation, ImportKey) else operation.ticket
            check_terms(terms, client.peer.uid, imported=imported)
            check_container(terms, ticket, imported=imported)
            check_properties(terms, wish.properties)
            if terms.scope == "machine":
                self._authority.check_manages_machine(client.peer)
            if terms.lifetime == "ephemeral":
                self._ephemerals.check_room(client)
                sealed = await wish.make(KeyGrant((), 1, client.group))
                self._ephemerals.add(client, sealed.header)
                return Created(sealed.header, sealed.blob)
            name = terms.provider, partition_of(terms.scope, terms.owner), terms.name
            # Else of many that overwrite, most would work in vain.
            await self._turns.take(name, client.peer.uid, client.here)
            try:
                return await self._make_persisted(wish)
            finally:
                self._turns.give_back(name)
        except NCryptError as error:
            if error.status != Status.KEYISO_E_STALE:
                self._audit.create_failed(client, terms, wish.call.trace, error)
            raise

    async def _make_persisted(self, wish: "_Wish") -> Created:
        client, terms = wish.client, wish.terms
        for _ in range(_OVERWRITE_TRIES):
            first = wish.first_result(self._store.read)
            if first is not None:
                return await self._finished(wish, first, repeated=True)
            replaced = self._replaceable(client, terms)
            if replaced is None:  # the commit decides; this spares the work
                self._check_key_count(self._store.read, partition_of(terms.scope, terms.owner))
            access = self._authority.default_access(terms.scope, terms.owner)
            generation = 1 if replaced is None else replaced.generation + 1
            sealed = await wish.make(KeyGrant(access, generation, b""))
            properties = await self._sealed_properties(wish, sealed)
            try:
                made = await self._store.change(self._commit(wish, sealed, properties, replaced))
            except _Outrun:
                continue
            except NCryptError as error:
                self._audit.write_failed(
                    client, terms, wish.call.trace, error, replaced=replaced is not None
                )
                raise
            repeated = made.header.key_id != sealed.header.key_id
            return await self._finished(wish, made, repeated=repeated)
        raise ncrypt_error(
            Status.NTE_EXISTS, "the key was overwritten again and again by others", "Try again."
        )

    async def _sealed_properties(self, wish: "_Wish", sealed: Sealed) -> tuple[StoredProperty, ...]:
        """What the key is to have from its beginning, sealed for it."""
        partition = partition_of(wish.terms.scope, wish.terms.owner)
        return tuple(
            [
                StoredProperty(
                    sealed.header.key_id,
                    one.name,
                    partition,
                    await self._workers.seal_property(
                        wish.client,
                        SealProperty(sealed.blob, one.name, one.value),
                        trace=wish.call.trace,
                        hops=self._hops(wish.call),
                    ),
                )
                for one in wish.properties
            ]
        )

    def _commit(
        self,
        wish: "_Wish",
        sealed: Sealed,
        properties: tuple[StoredProperty, ...],
        replaced: StoredKey | None,
    ) -> Callable[[KeyTransaction], "_Change"]:
        """The transaction that decides whose key gets the name."""
        terms, uid = wish.terms, wish.client.peer.uid
        partition = partition_of(terms.scope, terms.owner)
        boot_id = self._identity.boot_id
        header = sealed.header

        def commit(change: KeyTransaction) -> _Change:
            first = wish.first_result(change)
            if first is not None:
                return first  # the same request, twice on its way
            present = change.find(terms.provider, partition, terms.name)
            if (present and present.key_id) != (replaced and replaced.key_id):
                if not terms.overwrite:
                    raise _exists(terms)
                raise _Outrun
            if present is not None:
                change.delete(present.key_id)
                change.revoke(present.key_id, boot_id)
            else:
                self._check_key_count(change, partition)
            change.insert(
                StoredKey(
                    header.key_id,
                    terms.provider,
                    partition,
                    terms.name,
                    sealed.blob,
                    header.generation,
                    change.now,
                )
            )
            for one in properties:
                set_property(change, one)
            made = _Change(header, b"" if present is None else present.key_id)
            result = Remembered(wish.hash(), msgspec.msgpack.encode(made))
            remember(change, uid, terms.operation_id, result, self._quotas)
            return made

        return commit

    def _replaceable(self, client: Client, terms: KeyTerms) -> StoredKey | None:
        """The key that the new one takes the name of, if that is asked for and allowed."""
        present = self._store.read.find(
            terms.provider, partition_of(terms.scope, terms.owner), terms.name
        )
        if present is None:
            return None
        if not terms.overwrite:
            raise _exists(terms)
        self._check_may_manage(client, present, terms.scope)
        self._check_not_lowered(present, terms)
        return present

    async def _finished(self, wish: "_Wish", made: "_Change", *, repeated: bool) -> Created:
        """Record the change, and revoke what was replaced; once more for a repeated request,
        as the service may have ended between the first one's commit and this.
        """
        self._audit.written(
            wish.client,
            wish.terms,
            wish.call.trace,
            made.header,
            replaced=bool(made.replaced),
            repeated=repeated,
        )
        if made.replaced:
            # What a vbs key has replaced may have been of either level.
            level: Level | None = "software" if made.header.level == "software" else None
            await self._revoke(wish.client, wish.call, made.replaced, level)
        return Created(made.header, b"")

    async def _delete(self, client: Client, call: Call[DeleteKey]) -> Done:
        operation = call.operation
        check_operation_id(operation.operation_id)
        check_provider(operation.provider)
        check_name(operation.name)
        uid, hashed = client.peer.uid, request_hash(operation)
        first = first_result(self._store.read, uid, operation.operation_id, hashed)
        if first is not None:
            return await self._finish_deletion(client, call, first, None, repeated=True)
        meant = await self._meant(client, call)
        boot_id = self._identity.boot_id

        def commit(change: KeyTransaction) -> None:
            present = change.find(meant.provider, meant.partition, meant.name)
            if present is None or present.key_id != meant.key_id:
                raise no_such_key(operation.scope, operation.name)
            if not operation.key_id and present != meant:
                raise _not_damaged()  # it was put back, or replaced, while it was looked at
            change.delete(present.key_id)
            change.revoke(present.key_id, boot_id)
            first = Remembered(hashed, present.key_id)
            remember(change, uid, operation.operation_id, first, self._quotas)

        await self._store.change(commit)
        level = _level_if_known(meant)
        return await self._finish_deletion(client, call, meant.key_id, level, repeated=False)

    async def _finish_deletion(
        self,
        client: Client,
        call: Call[DeleteKey],
        key_id: bytes,
        level: Level | None,
        *,
        repeated: bool,
    ) -> Done:
        self._audit.deleted(client, call, repeated=repeated)
        await self._revoke(client, call, key_id, level)
        return Done()

    async def _meant(self, client: Client, call: Call[DeleteKey]) -> StoredKey:
        """The key that a deletion means, if this client may delete it.

        Without a key id it is the damaged key of the name, and an intact one is never deleted.
        """
        operation = call.operation
        if not operation.key_id:
            self._check_may_manage_damaged(client, operation.scope)
        present = self._store.read.find(
            operation.provider, partition_of(operation.scope, client.peer.uid), operation.name
        )
        if present is None or operation.key_id not in (b"", present.key_id):
            raise no_such_key(operation.scope, operation.name)
        if operation.key_id:
            self._check_may_manage(client, present, operation.scope)
        else:
            await self._check_damaged(client, present, call)
        return present

    async def _check_damaged(
        self, client: Client, present: StoredKey, call: Call[DeleteKey]
    ) -> None:
        """Raise unless a worker, or the row itself, says that the key cannot be read.

        What passes, such as a missing root, is raised as it is.
        """
        try:
            header = read_header(present.blob)
            check_row(present, header)
            await self._workers.ask_any(
                client,
                Authenticate(present.blob),
                header.level,
                trace=call.trace,
                hops=self._hops(call),
            )
        except NCryptError as error:
            if error.status in DAMAGED:
                return
            raise
        raise _not_damaged()

    def _check_may_manage(self, client: Client, present: StoredKey, scope: Scope) -> None:
        """A damaged key can still be deleted and replaced by those who could have done it whole."""
        try:
            header = read_header(present.blob)
        except NCryptError:
            self._check_may_manage_damaged(client, scope)
        else:
            check_access(present, header, client.peer, Right.MANAGE)

    def _check_not_lowered(self, present: StoredKey, terms: KeyTerms) -> None:
        """Whoever asked for protection does not lose it to a program that did not ask."""
        level = _level_if_known(present)
        if level is not None:
            check_not_lowered(level, terms.level)

    def _check_may_manage_damaged(self, client: Client, scope: Scope) -> None:
        """The access list of a damaged key is not believed: whose scope it is decides."""
        if scope == "machine":
            self._authority.check_manages_machine(client.peer)

    def _check_key_count(self, reader: KeyReader, partition: int) -> None:
        if reader.key_count(partition) >= self._quotas.keys_per_user:
            raise too_many("stored keys", self._quotas.limit("keys_per_user"))

    async def finish_revocations(self) -> None:
        """Revoke what an earlier KeyIso service took away and may not have told every worker."""
        left = self._store.read.revoked()
        await self._workers.revoke(os.geteuid(), left, None, trace="", hops=())
        self._store.revoked_everywhere(left)

    async def _revoke(
        self, client: Client, call: Call[Any], key_id: bytes, level: Level | None
    ) -> None:
        uid = client.peer.uid
        hops = self._hops(call)
        await self._workers.revoke(uid, (key_id,), level, trace=call.trace, hops=hops)
        self._store.revoked_everywhere((key_id,))

    def _hops(self, call: Call[Any]) -> tuple[Hop, ...]:
        return self._identity.onward(call.hops, type(call.operation).__name__)


@dataclass(frozen=True, slots=True)
class _Wish:
    """A new key that somebody asked for."""

    client: Client
    call: Call[CreateKey] | Call[ImportKey]
    terms: KeyTerms
    properties: tuple[KeyProperty, ...]
    make: Maker

    def hash(self) -> bytes:
        """What tells this request from others; how an import is sealed differs each time."""
        return request_hash(self.terms, *self.properties)

    def first_result(self, reader: KeyReader) -> "_Change | None":
        """What the operation id did before, if this is a repeat."""
        uid, operation_id = self.client.peer.uid, self.terms.operation_id
        first = first_result(reader, uid, operation_id, self.hash())
        return None if first is None else _change_of(first)


class _Change(msgspec.Struct, frozen=True, array_like=True):
    """What an operation id keeps of a key that was made."""

    header: KeyHeader
    replaced: bytes
    """The id of the key that it replaced, or empty."""


def _change_of(result: bytes) -> _Change:
    """What was remembered. Raises ``KEYISO_E_STORE`` for what was damaged since."""
    try:
        return msgspec.msgpack.decode(result, type=_Change)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ncrypt_error(
            Status.KEYISO_E_STORE,
            "what the store remembers of this operation is damaged",
            "The store was edited or damaged. Restore it from a backup.",
        ) from None


def _level_if_known(present: StoredKey) -> Level | None:
    """None for a damaged key."""
    try:
        header = read_header(present.blob)
        check_row(present, header)
    except NCryptError:
        return None
    return header.level if header.level in LEVELS else None


def _exists(terms: KeyTerms) -> NCryptError:
    return ncrypt_error(
        Status.NTE_EXISTS,
        "a key of this name exists",
        "Choose another name, or ask for it to be overwritten (NCRYPT_OVERWRITE_KEY_FLAG).",
    )


def _not_damaged() -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_KEY_STATE, "the key is not damaged", "Open it, and delete what was opened."
    )
