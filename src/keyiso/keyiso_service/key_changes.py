"""Creating, importing, deleting keys: changes of the store that are made once.

Every change carries an operation id, which is committed with it: a repeat after a lost answer
returns the first result. A change that takes a key away revokes it in every worker before the
caller hears of success.
"""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from keyiso import limits
from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import KeyHeader, Right, Scope
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.keyiso_service.access import Authority, check_access, no_such_key
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.keyiso_service.terms import (
    check_operation_id,
    check_provider,
    check_terms,
    request_hash,
)
from keyiso.keyiso_service.turns import Turns
from keyiso.keyiso_service.workers import Workers
from keyiso.names import check_name
from keyiso.server.identity import Identity
from keyiso.status import Status
from keyiso.store.keys import KeyReader, StoredKey
from keyiso.store.schema import MACHINE
from keyiso.store.writer import KeyTransaction
from keyiso.wire.messages import Call
from keyiso.wire.operations import (
    Authenticate,
    Created,
    CreateKey,
    DeleteKey,
    Done,
    Generate,
    Import,
    ImportKey,
    KeyGrant,
    KeyTerms,
    ReleaseEphemeral,
    Sealed,
)

_OVERWRITE_TRIES: Final = 8
"""Rounds of an overwrite that finds, at its commit, that another one was faster."""

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
        audit: Audit,
    ) -> None:
        self._identity = identity
        self._store = store
        self._workers = workers
        self._authority = authority
        self._audit = audit
        self._turns = Turns()

    async def create(self, client: Client, call: Call[CreateKey]) -> Created:
        """Generate a key and, unless it is ephemeral, store it."""
        terms = call.operation.terms

        async def generate(grant: KeyGrant) -> Sealed:
            worker = self._workers.for_generation(terms.algorithm)
            return await worker.call(
                Generate(terms, grant), trace=call.trace, hops=self._hops(call)
            )

        return await self._make(client, call, terms, generate, imported=False)

    async def import_key(self, client: Client, call: Call[ImportKey]) -> Created:
        """Have a worker take over a key that was sealed to it, and store it."""
        operation = call.operation

        async def take_over(grant: KeyGrant) -> Sealed:
            worker = self._workers.with_instance(operation.worker_instance)
            return await worker.call(
                Import(operation.terms, grant, operation.sealed),
                trace=call.trace,
                hops=self._hops(call),
            )

        return await self._make(client, call, operation.terms, take_over, imported=True)

    async def delete(self, client: Client, call: Call[DeleteKey]) -> Done:
        """Delete exactly the key that is meant."""
        try:
            return await self._delete(client, call)
        except NCryptError as error:
            if error.status != Status.KEYISO_E_STALE:
                self._audit.delete_failed(client, call, error)
            raise

    async def release_ephemeral(self, client: Client, call: Call[ReleaseEphemeral]) -> Done:
        """End an ephemeral key for the rest of the boot; one that ended before stays ended."""
        header = await self._authenticated(client, call.operation.blob, call)
        boot_id = self._identity.boot_id
        await self._store.change(lambda change: change.revoke(header.key_id, boot_id))
        await self._revoke(call, header.key_id)
        return Done()

    async def own_ephemeral(self, client: Client, blob: bytes, call: Call[Any]) -> KeyHeader:
        """The authenticated header of this client's own ephemeral key.

        Raises ``KEYISO_E_EPHEMERAL_GONE`` for one that was freed or belongs to somebody else.
        """
        header = await self._authenticated(client, blob, call)
        if self._store.read.is_revoked(header.key_id):
            raise _ephemeral_gone()
        return header

    async def _authenticated(self, client: Client, blob: bytes, call: Call[Any]) -> KeyHeader:
        read_header(blob)  # what is no blob is not worth a worker's time
        answer = await self._workers.any().call(
            Authenticate(blob), trace=call.trace, hops=self._hops(call)
        )
        header = answer.header
        if (
            header.lifetime != "ephemeral"
            or header.owner != client.peer.uid
            or not hmac.compare_digest(header.client_group, client.group)
        ):
            raise _ephemeral_gone()
        return header

    async def _make(
        self,
        client: Client,
        call: Call[CreateKey] | Call[ImportKey],
        terms: KeyTerms,
        make: Maker,
        *,
        imported: bool,
    ) -> Created:
        try:
            check_terms(terms, client.peer.uid, imported=imported)
            if terms.scope == "machine":
                self._authority.check_manages_machine(client.peer)
            if terms.lifetime == "ephemeral":
                sealed = await make(KeyGrant((), 1, client.group))
                return Created(sealed.header, sealed.blob)
            name = terms.provider, _partition(terms.scope, terms.owner), terms.name
            await self._turns.take(name)  # else of many that overwrite, most would work in vain
            try:
                return await self._make_persisted(client, call, terms, make)
            finally:
                self._turns.give_back(name)
        except NCryptError as error:
            if error.status != Status.KEYISO_E_STALE:
                self._audit.create_failed(client, terms, call.trace, error)
            raise

    async def _make_persisted(
        self,
        client: Client,
        call: Call[CreateKey] | Call[ImportKey],
        terms: KeyTerms,
        make: Maker,
    ) -> Created:
        for _ in range(_OVERWRITE_TRIES):
            first = self._first_result(self._store.read, client, terms)
            if first is not None:
                return await self._finished(call, first)
            replaced = self._replaceable(client, terms)
            access = self._authority.default_access(terms.scope, terms.owner)
            generation = 1 if replaced is None else replaced.generation + 1
            sealed = await make(KeyGrant(access, generation, b""))
            try:
                made = await self._store.change(self._commit(client, terms, sealed, replaced))
            except _Outrun:
                continue
            except NCryptError as error:
                self._audit.write_failed(client, terms, call.trace, error)
                raise
            result = await self._finished(call, made)
            self._audit.written(
                client, terms, call.trace, result.header, replaced=replaced is not None
            )
            return result
        raise ncrypt_error(
            Status.NTE_EXISTS, "the key was overwritten again and again by others", "Try again."
        )

    def _commit(
        self, client: Client, terms: KeyTerms, sealed: Sealed, replaced: StoredKey | None
    ) -> Callable[[KeyTransaction], "_Change"]:
        """The transaction that decides whose key gets the name."""
        uid, partition = client.peer.uid, _partition(terms.scope, terms.owner)
        boot_id = self._identity.boot_id
        header = sealed.header

        def commit(change: KeyTransaction) -> _Change:
            first = self._first_result(change, client, terms)
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
            elif change.key_count(partition) >= limits.KEYS_PER_USER:
                raise _too_many("stored keys", "KEYS_PER_USER", limits.KEYS_PER_USER)
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
            made = _Change(header, b"" if present is None else present.key_id)
            _check_operation_count(change, uid)
            change.remember(
                uid, terms.operation_id, request_hash(terms), msgspec.msgpack.encode(made)
            )
            return made

        return commit

    def _first_result(self, reader: KeyReader, client: Client, terms: KeyTerms) -> "_Change | None":
        """What the operation id did before, if this is a repeat."""
        remembered = reader.remembered(client.peer.uid, terms.operation_id)
        if remembered is None:
            return None
        if not hmac.compare_digest(remembered.request_hash, request_hash(terms)):
            raise _other_request()
        return msgspec.msgpack.decode(remembered.result, type=_Change)

    def _replaceable(self, client: Client, terms: KeyTerms) -> StoredKey | None:
        """The key that the new one takes the name of, if that is asked for and allowed."""
        present = self._store.read.find(
            terms.provider, _partition(terms.scope, terms.owner), terms.name
        )
        if present is None:
            return None
        if not terms.overwrite:
            raise _exists(terms)
        self._check_may_manage(client, present, terms.scope)
        return present

    async def _finished(self, call: Call[CreateKey] | Call[ImportKey], made: "_Change") -> Created:
        """Revoke what was replaced, also when the first try ended between commit and this."""
        if made.replaced:
            await self._revoke(call, made.replaced)
        return Created(made.header, b"")

    async def _delete(self, client: Client, call: Call[DeleteKey]) -> Done:
        operation = call.operation
        check_operation_id(operation.operation_id)
        check_provider(operation.provider)
        check_name(operation.name)
        uid, hashed = client.peer.uid, request_hash(operation)
        remembered = self._store.read.remembered(uid, operation.operation_id)
        if remembered is not None:
            if not hmac.compare_digest(remembered.request_hash, hashed):
                raise _other_request()
            await self._revoke(call, operation.key_id)
            return Done()
        partition = _partition(operation.scope, uid)
        boot_id = self._identity.boot_id

        def commit(change: KeyTransaction) -> None:
            present = change.find(operation.provider, partition, operation.name)
            if present is None or present.key_id != operation.key_id:
                raise no_such_key(operation.scope, operation.name)
            change.delete(present.key_id)
            change.revoke(present.key_id, boot_id)
            _check_operation_count(change, uid)
            change.remember(uid, operation.operation_id, hashed, b"")

        present = self._store.read.find(operation.provider, partition, operation.name)
        if present is None or present.key_id != operation.key_id:
            raise no_such_key(operation.scope, operation.name)
        self._check_may_manage(client, present, operation.scope)
        await self._store.change(commit)
        await self._revoke(call, operation.key_id)
        self._audit.deleted(client, call)
        return Done()

    def _check_may_manage(self, client: Client, present: StoredKey, scope: Scope) -> None:
        """A damaged key can still be deleted and replaced by those who could have done it whole."""
        try:
            header = read_header(present.blob)
        except NCryptError:
            if scope == "machine":
                self._authority.check_manages_machine(client.peer)
        else:
            check_access(present, header, client.peer, Right.MANAGE)

    async def _revoke(self, call: Call[Any], key_id: bytes) -> None:
        await self._workers.revoke((key_id,), trace=call.trace, hops=self._hops(call))

    def _hops(self, call: Call[Any]) -> tuple[Hop, ...]:
        return self._identity.onward(call.hops, type(call.operation).__name__)


class _Change(msgspec.Struct, frozen=True, array_like=True):
    """What an operation id keeps of a key that was made."""

    header: KeyHeader
    replaced: bytes
    """The id of the key that it replaced, or empty."""


def _partition(scope: str, uid: int) -> int:
    return MACHINE if scope == "machine" else uid


def _exists(terms: KeyTerms) -> NCryptError:
    return ncrypt_error(
        Status.NTE_EXISTS,
        "a key of this name exists",
        "Choose another name, or ask for it to be overwritten (NCRYPT_OVERWRITE_KEY_FLAG).",
    )


def _ephemeral_gone() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_EPHEMERAL_GONE,
        "the ephemeral key was freed or is not one of this client",
        "Create a new key.",
    )


def _check_operation_count(change: KeyTransaction, uid: int) -> None:
    if change.operation_count(uid) >= limits.OPERATION_IDS_PER_USER:
        raise _too_many(
            "changes in a short time", "OPERATION_IDS_PER_USER", limits.OPERATION_IDS_PER_USER
        )


def _too_many(what: str, name: str, limit: int) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_LIMIT, f"the user has {name} ({limit}) {what}", "Delete some, or wait."
    )


def _other_request() -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, "the operation id was used for another request"
    )
