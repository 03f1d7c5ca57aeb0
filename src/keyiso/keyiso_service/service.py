"""The KeyIso service's control endpoint."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keyiso import limits
from keyiso.crypto.key_header import KeyHeader, Level, Right
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.keyiso_service.access import Authority, no_such_key
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.bindings import bindings
from keyiso.keyiso_service.client import Client, bound_client, hash_of_group
from keyiso.keyiso_service.ephemeral_keys import EphemeralKeys
from keyiso.keyiso_service.finding import find_key, listed_key, partition_of
from keyiso.keyiso_service.isolation_audit import IsolationAudit
from keyiso.keyiso_service.key_changes import KeyChanges
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.keyiso_service.key_uses import KeyUses
from keyiso.keyiso_service.passport import Passport
from keyiso.keyiso_service.property_changes import PropertyChanges
from keyiso.keyiso_service.resealing import Resealing
from keyiso.keyiso_service.served_clients import handlers_for_passport
from keyiso.keyiso_service.terms import LEVELS, check_provider
from keyiso.keyiso_service.watching import Watching
from keyiso.keyiso_service.workers import Workers, level_of_worker
from keyiso.names import printable_name
from keyiso.quotas import Quotas
from keyiso.server.application import Application
from keyiso.server.connection import DONE, Connection, Endpoint, Handler, WithDescriptor
from keyiso.server.identity import Identity
from keyiso.server.link import Link
from keyiso.server.listener import Listener
from keyiso.server.loop import Loop
from keyiso.server.promise import run_coroutine
from keyiso.server.shares import no_descriptor
from keyiso.status import Status
from keyiso.store.keys import StoredKey
from keyiso.wire.control import (
    BINDINGS_FEATURE,
    RESEAL_FEATURE,
    Attach,
    Attached,
    AwaitChange,
    Bind,
    Bindings,
    Bound,
    Changes,
    ControlOperation,
    Created,
    CreateKey,
    DeleteKey,
    EnumKeys,
    EventChannels,
    FindKey,
    Found,
    GetBindings,
    GetEventChannels,
    GetImportKey,
    GetIsolation,
    GetProperty,
    GetServiceStatus,
    ImportKey,
    KeyNames,
    OpenEphemeral,
    OpenKey,
    ReleaseEphemeral,
    ReportProviderFailure,
    ResealedKeys,
    ResealKeys,
    ServiceStatus,
    SetAccess,
    SetEventChannel,
    SetProperty,
)
from keyiso.wire.link import EVERYBODY, AddChannel, GetWorkerImportKey, Load
from keyiso.wire.messages import Call
from keyiso.wire.passport import PASSPORT_FEATURE
from keyiso.wire.passport_services import BindFor, ServedOperation
from keyiso.wire.results import Done, Isolation, Opened, PropertyValue, WorkerImportKey


class KeyIsoService:
    """Binds clients, finds keys, and has workers load them for those who may use them."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        store: KeyStore,
        workers: Workers,
        authority: Authority,
        ephemerals: EphemeralKeys,
        audit: Audit,
        uses: KeyUses,
        isolation: IsolationAudit,
        *,
        quotas: Quotas,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._quotas = quotas
        self._random = random
        self._loop = loop
        self._identity = identity
        self._store = store
        self._workers = workers
        self._authority = authority
        self._audit = audit
        self._uses = uses
        self._isolation = isolation
        self._passport_socket = Path()
        self._changes = KeyChanges(identity, store, workers, authority, ephemerals, audit, quotas)
        self._properties = PropertyChanges(identity, store, workers, audit, quotas)
        self._resealing = Resealing(identity, store, workers, audit, loop.clock)
        self._passport = Passport(identity, workers, authority, audit)
        self._watching = Watching(loop, store)
        self._ephemerals = ephemerals
        self._clients: dict[bytes, Client] = {}
        """By the ids of their connections."""
        self._applications: dict[bytes, Application] = {}
        """Those that Passport's services ask for, by the same ids."""

    def listen(self, listening: socket.socket) -> Listener:
        """Serve applications on the control socket."""
        endpoint = Endpoint(
            operations=ControlOperation,
            handlers=self._handlers(),
            frame_bytes=limits.CONTROL_FRAME_BYTES,
            admit=self._authority.admit,
            closed=self._client_ended,
            features=(BINDINGS_FEATURE, PASSPORT_FEATURE, RESEAL_FEATURE),
        )
        run_coroutine(self._changes.finish_revocations(), _leave)
        return Listener(self._loop, self._identity, endpoint, listening, self._quotas)

    def listen_for_passport(self, listening: socket.socket, passport_socket: Path) -> Listener:
        """Serve the applications that Passport's services serve, and that are connected there."""
        self._passport_socket = passport_socket
        endpoint = Endpoint(
            operations=ServedOperation,
            handlers={BindFor: self._bind_for, **handlers_for_passport(self._handlers())},
            frame_bytes=limits.CONTROL_FRAME_BYTES,
            admit=self._authority.check_serves_others,
            closed=self._client_ended,
            passes_descriptors=True,
            features=(PASSPORT_FEATURE,),
        )
        return Listener(self._loop, self._identity, endpoint, listening, self._quotas)

    def _handlers(self) -> dict[type, Handler]:
        return {
            Bind: self._bind,
            Attach: self._attach,
            OpenKey: self._open_key,
            OpenEphemeral: self._open_ephemeral,
            FindKey: self._find_key,
            CreateKey: self._create_key,
            GetImportKey: self._get_import_key,
            ImportKey: self._import_key,
            DeleteKey: self._delete_key,
            ReleaseEphemeral: self._release_ephemeral,
            EnumKeys: self._enum_keys,
            SetProperty: self._set_property,
            GetProperty: self._get_property,
            SetAccess: self._set_access,
            AwaitChange: self._await_change,
            GetServiceStatus: self._status,
            GetIsolation: self._get_isolation,
            ReportProviderFailure: self._report_provider_failure,
            SetEventChannel: self._set_event_channel,
            GetEventChannels: self._get_event_channels,
            GetBindings: self._get_bindings,
            ResealKeys: self._reseal_keys,
            **self._passport.handlers,
        }

    # --- sessions ------------------------------------------------------------------------------

    def _bind(self, connection: Connection, call: Call[Bind]) -> Bound:
        secret = call.operation.client_group
        if len(secret) != limits.CLIENT_GROUP_BYTES:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                f"a client group has {limits.CLIENT_GROUP_BYTES} bytes",
            )
        self._note_client(connection, call.operation.process, hash_of_group(secret))
        return Bound(connection.peer.uid, self._workers.channels)

    def _bind_for(self, connection: Connection, call: Call[BindFor]) -> Done:
        if connection.state is not None:
            raise ncrypt_error(Status.KEYISO_E_PROTOCOL, "the connection is bound already")
        application = Application(
            self._loop, connection.take_descriptor(), self._passport_socket, connection.close
        )
        try:
            self._authority.admit(application.peer)
            connection.stand_for(application.peer)
        except NCryptError:
            application.close()
            raise
        # Its ephemeral keys would be of no group: none can be made through a service.
        group = self._random(limits.CLIENT_GROUP_BYTES)
        self._note_client(connection, call.operation.process, group, connection.client_service)
        self._applications[bound_client(connection).connection_id] = application
        return DONE

    def _note_client(
        self, connection: Connection, process: str, group: bytes, through: str = ""
    ) -> None:
        if connection.state is None:
            connection_id = self._random(limits.CONNECTION_ID_BYTES)
        else:
            self._ephemerals.client_left(connection.state)
            connection_id = connection.state.connection_id
        connection.state = Client(
            connection.peer,
            printable_name(process)[: limits.HOP_TEXT_BYTES],
            group,
            connection_id,
            lambda: connection.open,
            printable_name(through),
        )
        self._clients[connection_id] = connection.state
        self._ephemerals.client_came(connection.state)

    async def _attach(self, connection: Connection, call: Call[Attach]) -> WithDescriptor:
        """Give the client one end of a socket pair, and a worker the other."""
        client, level = bound_client(connection), call.operation.level
        if call.operation.passport:
            worker = self._workers.passport()
        else:
            worker = self._workers.next_holder(call.operation.avoid, level)
        channel_id = self._random(limits.CHANNEL_ID_BYTES)
        async with self._workers.turn(worker, client):
            instance_id = worker.peer_instance or b""
            ours, theirs = _socket_pair()
            try:
                await worker.call(
                    AddChannel(
                        channel_id,
                        client.peer.uid,
                        client.peer.pid,
                        client.process,
                        client.connection_id,
                    ),
                    trace=call.trace,
                    hops=self._hops(call),
                    descriptor=theirs.detach(),
                )
            except NCryptError:
                ours.close()
                raise
        if level == "vbs":
            self._isolation.client_binds(client)
        attached = Attached(channel_id, worker.peer_service, instance_id)
        return WithDescriptor(attached, ours.detach())

    def _client_ended(self, connection: Connection) -> None:
        if connection.state is not None:
            connection_id = connection.state.connection_id
            del self._clients[connection_id]
            if connection_id in self._applications:
                self._applications.pop(connection_id).close()
            self._ephemerals.client_left(connection.state)

    # --- finding and loading keys --------------------------------------------------------------

    async def _open_key(self, connection: Connection, call: Call[OpenKey]) -> Opened:
        client, operation = bound_client(connection), call.operation
        level: Level = "software"
        try:
            async with self._workers.turn_at(operation.worker_instance, client):
                # Found now, and not before it had to wait: what was revoked meanwhile is gone.
                stored, header = self._usable(client, operation)
                level = header.level
                worker = self._workers.with_instance(operation.worker_instance)
                if header.level in LEVELS and header.level != level_of_worker(worker):
                    # Replaced since the client looked, by a key that another worker opens.
                    raise no_such_key(operation.scope, operation.name)
                opened = await self._load(worker, client, stored.blob, call, operation.ticket)
        except NCryptError as error:
            if error.status != Status.KEYISO_E_STALE:
                self._audit.open_failed(client, call, error)
                self._note_failure(client, level, "OpenKey", call.trace, error)
            raise
        return opened

    async def _open_ephemeral(self, connection: Connection, call: Call[OpenEphemeral]) -> Opened:
        client, operation = bound_client(connection), call.operation
        try:
            header = await self._ephemerals.authenticated(client, operation.blob, call)
            async with self._workers.turn_at(operation.worker_instance, client):
                self._ephemerals.check_alive(header)
                worker = self._workers.with_instance(operation.worker_instance)
                return await self._load(worker, client, operation.blob, call)
        except NCryptError as error:
            if error.status != Status.KEYISO_E_STALE:
                self._audit.open_failed(client, call, error)
            raise

    async def _load(
        self,
        worker: Link,
        client: Client,
        blob: bytes,
        call: Call[OpenKey] | Call[OpenEphemeral],
        ticket: bytes = b"",
    ) -> Opened:
        """Load a key into a channel, or have the client get a channel to another worker."""
        operation = Load(call.operation.channel_id, client.peer.uid, blob, ticket)
        try:
            return await worker.call(operation, trace=call.trace, hops=self._hops(call))
        except NCryptError as error:
            if error.status == Status.KEYISO_E_ROOT_MISSING and self._workers.is_outdone(worker):
                raise ncrypt_error(
                    Status.KEYISO_E_STALE, "another worker has the root that this one lacks"
                ) from None
            raise

    def _find_key(self, connection: Connection, call: Call[FindKey]) -> Found:
        stored, header = self._usable(bound_client(connection), call.operation)
        return Found(header, stored.modified)

    def _usable(self, client: Client, operation: OpenKey | FindKey) -> tuple[StoredKey, KeyHeader]:
        return find_key(
            self._store.read,
            client,
            operation.provider,
            operation.scope,
            operation.name,
            Right.USE,
        )

    def _enum_keys(self, connection: Connection, call: Call[EnumKeys]) -> KeyNames:
        client, operation = bound_client(connection), call.operation
        check_provider(operation.provider)
        partition = partition_of(operation.scope, client.peer.uid)
        page = self._store.read.page(
            operation.provider, partition, operation.after, limits.ENUMERATION_PAGE
        )
        lines = (listed_key(stored, client, self._authority) for stored in page)
        names = tuple(line for line in lines if line is not None)
        more = len(page) == limits.ENUMERATION_PAGE
        return KeyNames(names, page[-1].name if more else b"")

    # --- changes -------------------------------------------------------------------------------

    async def _create_key(self, connection: Connection, call: Call[CreateKey]) -> Created:
        client = bound_client(connection)
        with self._noting_failure(client, call):
            return await self._changes.create(client, call)

    async def _import_key(self, connection: Connection, call: Call[ImportKey]) -> Created:
        client = bound_client(connection)
        with self._noting_failure(client, call):
            return await self._changes.import_key(client, call)

    async def _get_import_key(
        self, connection: Connection, call: Call[GetImportKey]
    ) -> WorkerImportKey:
        client = bound_client(connection)
        generator = self._workers.generator(call.operation.level)
        async with self._workers.turn(generator, client):
            return await generator.call(
                GetWorkerImportKey(), trace=call.trace, hops=self._hops(call)
            )

    async def _delete_key(self, connection: Connection, call: Call[DeleteKey]) -> Done:
        return await self._changes.delete(bound_client(connection), call)

    async def _release_ephemeral(
        self, connection: Connection, call: Call[ReleaseEphemeral]
    ) -> Done:
        return await self._ephemerals.release(bound_client(connection), call)

    async def _set_property(self, connection: Connection, call: Call[SetProperty]) -> Done:
        return await self._properties.set(bound_client(connection), call)

    async def _get_property(self, connection: Connection, call: Call[GetProperty]) -> PropertyValue:
        return await self._properties.get(bound_client(connection), call)

    async def _set_access(self, connection: Connection, call: Call[SetAccess]) -> Done:
        return await self._properties.set_access(bound_client(connection), call)

    async def _reseal_keys(self, connection: Connection, call: Call[ResealKeys]) -> ResealedKeys:
        client = bound_client(connection)
        self._authority.check_manages_instance(client.peer)
        return await self._resealing.reseal(client, call)

    async def _await_change(self, connection: Connection, call: Call[AwaitChange]) -> Changes:
        partition = partition_of(call.operation.scope, bound_client(connection).peer.uid)
        return await self._watching.change(partition, call.operation.since)

    def _get_isolation(self, connection: Connection, call: Call[GetIsolation]) -> Isolation:
        bound_client(connection)
        return self._workers.isolation()

    # --- events --------------------------------------------------------------------------------

    def _report_provider_failure(
        self, connection: Connection, call: Call[ReportProviderFailure]
    ) -> Done:
        self._audit.provider_failed(bound_client(connection), call)
        return DONE

    def _set_event_channel(self, connection: Connection, call: Call[SetEventChannel]) -> Done:
        client = bound_client(connection)
        self._authority.check_manages_instance(client.peer)
        self._audit.switch_channel(client, call)
        return DONE

    def _get_event_channels(
        self, connection: Connection, call: Call[GetEventChannels]
    ) -> EventChannels:
        self._authority.check_manages_instance(bound_client(connection).peer)
        return EventChannels(self._audit.channels())

    # --- status --------------------------------------------------------------------------------

    async def _status(self, connection: Connection, call: Call[GetServiceStatus]) -> ServiceStatus:
        return ServiceStatus(
            self._identity.pid,
            self._identity.instance_id,
            len(self._clients),
            await self._workers.status(bound_client(connection)),
            self._audit.lost,
            self._audit.lost_journal,
            self._audit.suppressed,
            self._uses.lost,
        )

    async def _get_bindings(self, connection: Connection, call: Call[GetBindings]) -> Bindings:
        client = bound_client(connection)
        uid = self._whose(client)
        channels = await self._workers.channel_holders(client, uid)
        clients = (one for one in self._clients.values() if uid in (EVERYBODY, one.peer.uid))
        return bindings(self._identity.instance_id, clients, channels)

    def _whose(self, client: Client) -> int:
        """Whose processes a client may hear of."""
        try:
            self._authority.check_manages_instance(client.peer)
        except NCryptError:
            return client.peer.uid
        return EVERYBODY

    @contextlib.contextmanager
    def _noting_failure(
        self, client: Client, call: Call[CreateKey] | Call[ImportKey]
    ) -> Iterator[None]:
        try:
            yield
        except NCryptError as error:
            function = type(call.operation).__name__
            self._note_failure(client, call.operation.terms.level, function, call.trace, error)
            raise

    def _note_failure(
        self, client: Client, level: Level, function: str, trace: str, error: NCryptError
    ) -> None:
        """What is not mended by trying again, with a key that an armed worker holds."""
        if level == "vbs" and error.status != Status.KEYISO_E_STALE:
            self._isolation.failed(client, function, trace, error)

    def _hops(self, call: Call[Any]) -> tuple[Hop, ...]:
        return self._identity.onward(call.hops, type(call.operation).__name__)


def _leave(outcome: Callable[[], None]) -> None:
    """Without a store nothing was revoked; what is left is told to each worker that connects."""
    with contextlib.suppress(NCryptError):
        outcome()


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    try:
        return socket.socketpair()
    except OSError as error:
        raise no_descriptor(error) from None
