"""The worker process: a small loop between the KeyIso service's link and the key channels.

What a worker inherits: standard input, output and error, and its listening socket (the link).
What it opens: the root files of its kind, before it serves. What it is given later: one end of
a socket pair for every key channel, by the KeyIso service.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any, Final, Protocol, get_args

from keyiso import limits
from keyiso.crypto.algorithms import takes_long_to_generate
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.import_seal import takes_long_to_validate
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.quotas import Quotas
from keyiso.server.background import Background
from keyiso.server.connection import DONE, Connection, Endpoint, Handler
from keyiso.server.identity import Identity
from keyiso.server.listener import Listener
from keyiso.server.loop import Loop
from keyiso.server.peer import Peer
from keyiso.server.shares import Share, Shares
from keyiso.status import Status
from keyiso.trustlet.engine import ContainerOpener, Engine, LoadedKey, needs_pin
from keyiso.trustlet.key_cache import KeyCache
from keyiso.trustlet.uses import ChannelUser, UseCounts
from keyiso.wire.channel import (
    BATCH_FEATURE,
    ChannelOperation,
    Decipher,
    Decrypt,
    Derive,
    Encipher,
    ExportPrivate,
    Output,
    Ping,
    Release,
    Sign,
    Signature,
    Signatures,
    SignBatch,
)
from keyiso.wire.link import (
    CHANNELS_FEATURE,
    EVERYBODY,
    USES_FEATURE,
    AddChannel,
    Authenticate,
    Authenticated,
    ChangeAccess,
    ChannelHolder,
    ChannelHolders,
    Generate,
    GetChannels,
    GetWorkerImportKey,
    GetWorkerIsolation,
    GetWorkerStatus,
    Import,
    LinkOperation,
    Load,
    OpenProperty,
    RenewLease,
    Reseal,
    ResealProperty,
    Revoke,
    Sealed,
    SealProperty,
    TakeUses,
    Uses,
)
from keyiso.wire.messages import Call
from keyiso.wire.passport import PASSPORT_FEATURE, PassportOperation, TicketUse
from keyiso.wire.results import (
    Done,
    Isolation,
    Opened,
    PropertyValue,
    WorkerImportKey,
    WorkerStatus,
)

_NOT_ISOLATED: Final = Isolation("unavailable", "this worker keeps software keys")

_KeyOperation = Sign | SignBatch | Decrypt | Derive | Encipher | Decipher | ExportPrivate


class PassportDesk(Protocol):
    """What a worker has that serves Passport besides: `keyiso.trustlet.passport.desk`."""

    @property
    def handlers(self) -> Mapping[type, Handler]:
        """Of Passport's operations."""

    def redeem(
        self, ticket: bytes, owner: int, use: TicketUse, container_id: bytes = b""
    ) -> ContainerSecret:
        """The secret of a container, by default the user's own. Raises ``KEYISO_E_STALE`` and
        ``NTE_PERM``.
        """


class Worker:
    """Serves one link endpoint and any number of key channels."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        engine: Engine,
        keyiso_uid: int,
        quotas: Quotas,
        *,
        cache: KeyCache | None = None,
        background: Background | None = None,
        isolation: Isolation = _NOT_ISOLATED,
        passport: PassportDesk | None = None,
    ) -> None:
        """An armed worker brings a cache whose memory cannot grow, the one thread that was started
        before it was armed, and what was found when it was.
        """
        self._passport = passport
        self._isolation = isolation
        self._loop = loop
        self._identity = identity
        self._engine = engine
        self._keyiso_uid = keyiso_uid
        self._quotas = quotas
        self._cache = KeyCache(quotas.loaded_key_bytes) if cache is None else cache
        self._short_work = Background(loop) if background is None else background
        self._long_work = Background(loop) if background is None else background
        """Generating and validating take long; the loop goes on meanwhile."""
        self._channels: dict[bytes, Connection] = {}
        self._uses = UseCounts(begun=lambda: loop.call_later(limits.USES_SECONDS, self._uses.tell))
        self._shares = Shares(
            Share(quotas.limit("channels_per_user"), together=quotas.limit("channels_per_worker")),
            quotas,
        )
        self._by_connection = Share(
            quotas.limit("channels_per_connection"), called=lambda _: "the control connection"
        )
        self._leased_until = 0.0
        self._channel_endpoint = Endpoint(
            operations=ChannelOperation,
            handlers={
                Ping: self._ping,
                Sign: self._sign,
                Release: self._release,
                Decrypt: self._decrypt,
                Derive: self._derive,
                Encipher: self._encipher,
                Decipher: self._decipher,
                ExportPrivate: self._export,
                SignBatch: self._sign_batch,
            },
            costs={SignBatch: limits.CALLS_PER_TURN},
            frame_bytes=limits.KEY_FRAME_BYTES,
            admit=lambda peer: None,
            closed=self._channel_closed,
            features=(BATCH_FEATURE,),
            failed=self._note_failure,
            make_room=self._cache.make_room,
        )

    def listen(self, listening: socket.socket) -> Listener:
        """Serve the KeyIso service on the link's listening socket."""
        endpoint = Endpoint(
            operations=LinkOperation,
            handlers={
                AddChannel: self._add_channel,
                Authenticate: self._authenticate,
                Load: self._load,
                Generate: self._generate,
                Import: self._import,
                GetWorkerImportKey: self._get_import_key,
                Revoke: self._revoke,
                RenewLease: self._renew_lease,
                GetWorkerStatus: self._status,
                SealProperty: self._seal_property,
                OpenProperty: self._open_property,
                ChangeAccess: self._change_access,
                Reseal: self._reseal,
                ResealProperty: self._reseal_property,
                TakeUses: self._take_uses,
                GetWorkerIsolation: self._get_isolation,
                GetChannels: self._get_channels,
                **(self._passport.handlers if self._passport else _NO_PASSPORT),
            },
            frame_bytes=limits.CONTROL_FRAME_BYTES,
            admit=self._admit_keyiso,
            passes_descriptors=True,
            features=(
                USES_FEATURE,
                CHANNELS_FEATURE,
                *((PASSPORT_FEATURE,) if self._passport else ()),
            ),
            make_room=self._cache.make_room,
        )
        return Listener(self._loop, self._identity, endpoint, listening, self._quotas)

    # --- link ----------------------------------------------------------------------------------

    def _admit_keyiso(self, peer: Peer) -> None:
        if peer.uid != self._keyiso_uid:
            raise ncrypt_error(
                Status.KEYISO_E_PEER_REFUSED, f"uid {peer.uid} is not the KeyIso service"
            )

    def _add_channel(self, connection: Connection, call: Call[AddChannel]) -> Done:
        handed = _stream(connection.take_descriptor())
        operation = call.operation
        try:
            self._take_channel(operation)
        except NCryptError:
            handed.close()
            raise
        # Who is at the other end is KeyIso's word: the socket pair was made by it.
        peer = Peer(0, operation.uid, 0, frozenset())
        channel = Connection(
            self._loop, self._identity, self._channel_endpoint, handed, peer, self._shares
        )
        channel.state = ChannelUser(
            operation.channel_id,
            operation.uid,
            operation.pid,
            operation.process,
            operation.connection_id,
        )
        self._channels[operation.channel_id] = channel
        return DONE

    def _take_channel(self, operation: AddChannel) -> None:
        """Raise ``KEYISO_E_LIMIT`` when the worker, the user or the connection has enough, and
        ``NTE_NO_MEMORY`` when there is no room for another one."""
        self._cache.make_room()
        self._shares.connections.take(operation.uid)
        try:
            self._by_connection.take(operation.connection_id)
        except NCryptError:
            self._shares.connections.give_back(operation.uid)
            raise

    def _load(self, connection: Connection, call: Call[Load]) -> Opened:
        operation = call.operation
        channel = self._channels.get(operation.channel_id)
        if channel is None or channel.state.uid != operation.uid:
            raise ncrypt_error(Status.KEYISO_E_STALE, "the caller has no such key channel here")
        self._cache.make_room()
        key = self._engine.unseal(operation.blob, self._opener(operation))
        return Opened(self._cache.add(channel, operation.uid, key), key.header)

    def _opener(self, operation: Load) -> ContainerOpener:
        """What opens the Passport container that the key may be in."""
        passport, ticket, uid = self._passport, operation.ticket, operation.uid
        if passport is None or not ticket:
            return needs_pin
        return lambda container_id: passport.redeem(ticket, uid, "use", container_id)

    def _authenticate(self, connection: Connection, call: Call[Authenticate]) -> Authenticated:
        return Authenticated(self._engine.authenticate(call.operation.blob))

    async def _generate(self, connection: Connection, call: Call[Generate]) -> Sealed:
        operation = call.operation
        terms = operation.terms
        container = None
        if operation.ticket:
            container = self._redeemed(operation.ticket, terms.owner)
        long = takes_long_to_generate(terms.algorithm, terms.bits)
        return await self._beside(long).run(
            lambda: self._engine.generate(terms, operation.grant, container),
            lambda: connection.open,
        )

    def _redeemed(self, ticket: bytes, owner: int) -> ContainerSecret:
        """The secret for a new key."""
        if self._passport is None:
            raise _without_passport()
        return self._passport.redeem(ticket, owner, "create")

    async def _import(self, connection: Connection, call: Call[Import]) -> Sealed:
        operation = call.operation
        return await self._beside(takes_long_to_validate(operation.sealed)).run(
            lambda: self._engine.import_sealed(operation.terms, operation.grant, operation.sealed),
            lambda: connection.open,
        )

    def _beside(self, long: bool) -> Background:
        """The thread for work that takes so long."""
        return self._long_work if long else self._short_work

    def _get_import_key(
        self, connection: Connection, call: Call[GetWorkerImportKey]
    ) -> WorkerImportKey:
        return WorkerImportKey(self._identity.instance_id, self._engine.import_key)

    def _revoke(self, connection: Connection, call: Call[Revoke]) -> Done:
        for key_id in call.operation.key_ids:
            self._cache.revoke(key_id)
        return DONE

    def _seal_property(self, connection: Connection, call: Call[SealProperty]) -> PropertyValue:
        operation = call.operation
        return PropertyValue(
            self._engine.seal_property(operation.blob, operation.name, operation.value)
        )

    def _open_property(self, connection: Connection, call: Call[OpenProperty]) -> PropertyValue:
        operation = call.operation
        return PropertyValue(
            self._engine.open_property(operation.blob, operation.name, operation.sealed)
        )

    def _change_access(self, connection: Connection, call: Call[ChangeAccess]) -> Sealed:
        return self._engine.change_access(call.operation.blob, call.operation.access)

    def _reseal(self, connection: Connection, call: Call[Reseal]) -> Sealed:
        return self._engine.reseal(call.operation.blob, call.operation.root_id)

    def _reseal_property(self, connection: Connection, call: Call[ResealProperty]) -> PropertyValue:
        operation = call.operation
        return PropertyValue(
            self._engine.reseal_property(
                operation.blob, operation.root_id, operation.name, operation.sealed
            )
        )

    def _renew_lease(self, connection: Connection, call: Call[RenewLease]) -> Done:
        self._leased_until = self._loop.clock.monotonic() + limits.LEASE_SECONDS
        return DONE

    def _status(self, connection: Connection, call: Call[GetWorkerStatus]) -> WorkerStatus:
        return WorkerStatus(
            self._identity.service,
            self._identity.pid,
            self._identity.instance_id,
            len(self._channels),
            len(self._cache),
            self._uses.total,
            self._uses.failures,
            self._uses.lost,
        )

    def _get_isolation(self, connection: Connection, call: Call[GetWorkerIsolation]) -> Isolation:
        return self._isolation

    def _get_channels(self, connection: Connection, call: Call[GetChannels]) -> ChannelHolders:
        uid, counts = call.operation.uid, dict[tuple[int, int, str], int]()
        for channel in self._channels.values():
            user = channel.state
            if uid in (EVERYBODY, user.uid):
                holder = user.uid, user.pid, user.process
                counts[holder] = counts.get(holder, 0) + 1
        holders = [ChannelHolder(*holder, count) for holder, count in counts.items()]
        shown = tuple(holders[: limits.BOUND_PROCESSES])
        return ChannelHolders(shown, len(holders) - len(shown))

    async def _take_uses(self, connection: Connection, call: Call[TakeUses]) -> Uses:
        await self._uses.due()
        if not connection.open:
            raise ncrypt_error(Status.KEYISO_E_STALE, "they are for the next one who asks")
        return self._uses.take()

    # --- key channels --------------------------------------------------------------------------

    def _ping(self, channel: Connection, call: Call[Any]) -> Done:
        return DONE

    def _sign(self, channel: Connection, call: Call[Sign]) -> Signature:
        operation = call.operation
        key = self._use(channel, operation)
        return Signature(self._engine.sign(key, operation.digest, operation.padding))

    def _sign_batch(self, channel: Connection, call: Call[SignBatch]) -> Signatures:
        """As many signatures as a turn has time, and a frame has room for."""
        operation, clock = call.operation, self._loop.clock
        if not 0 < len(operation.digests) <= limits.DIGESTS_PER_BATCH:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                f"a batch has 1 to DIGESTS_PER_BATCH ({limits.DIGESTS_PER_BATCH}) hashes,"
                f" not {len(operation.digests)}",
            )
        key = self._use(channel, operation)
        until = clock.monotonic() + limits.TURN_SECONDS
        room = limits.MESSAGE_BYTES
        values: list[bytes] = []
        for digest in operation.digests:
            values.append(self._engine.sign(key, digest, operation.padding))
            room -= len(values[-1])
            if room < len(values[-1]) or clock.monotonic() > until:
                break
        self._uses.count_more((key.header.key_id, SignBatch), len(values) - 1)
        return Signatures(tuple(values))

    def _decrypt(self, channel: Connection, call: Call[Decrypt]) -> Output:
        operation = call.operation
        key = self._use(channel, operation)
        return Output(self._engine.decrypt(key, operation.ciphertext, operation.padding))

    def _derive(self, channel: Connection, call: Call[Derive]) -> Output:
        operation = call.operation
        key = self._use(channel, operation)
        return Output(self._engine.derive(key, operation.peer, operation.derivation))

    def _encipher(self, channel: Connection, call: Call[Encipher]) -> Output:
        operation = call.operation
        key = self._use(channel, operation)
        return Output(self._engine.encipher(key, operation.message, operation.parameters))

    def _decipher(self, channel: Connection, call: Call[Decipher]) -> Output:
        operation = call.operation
        key = self._use(channel, operation)
        return Output(self._engine.decipher(key, operation.ciphertext, operation.parameters))

    def _export(self, channel: Connection, call: Call[ExportPrivate]) -> Output:
        operation = call.operation
        key = self._use(channel, operation)
        return Output(self._engine.export(key, operation.blob_type, operation.password))

    def _use(self, channel: Connection, operation: _KeyOperation) -> LoadedKey:
        if self._loop.clock.monotonic() > self._leased_until:
            raise ncrypt_error(
                Status.KEYISO_E_STALE, "no KeyIso service was heard of: the lease has ended"
            )
        key = self._cache.use(channel, operation.slot)
        use = key.header.key_id, type(operation)
        try:
            self._uses.made[use] += 1
        except KeyError:
            self._uses.begin(use)
        return key

    def _note_failure(self, channel: Connection, call: Call[Any], error: NCryptError) -> None:
        """An operation was answered with an error. What the client mends itself is none."""
        key = self._cache.get(channel, getattr(call.operation, "slot", 0))
        if key is not None and error.status != Status.KEYISO_E_STALE:
            self._uses.fail(
                channel.state, key.header, type(call.operation), error.status, call.trace
            )

    def _release(self, channel: Connection, call: Call[Release]) -> Done:
        self._cache.release(channel, call.operation.slot)
        return DONE

    def _channel_closed(self, channel: Connection) -> None:
        self._cache.drop_channel(channel)
        if channel.state is not None:
            self._channels.pop(channel.state.channel_id, None)
            self._shares.connections.give_back(channel.state.uid)
            self._by_connection.give_back(channel.state.connection_id)


def _without_passport() -> NCryptError:
    return ncrypt_error(Status.NTE_NOT_SUPPORTED, "this worker has no Passport containers")


def _no_passport(connection: Connection, call: Call[Any]) -> Done:
    raise _without_passport()


_NO_PASSPORT: Final[Mapping[type, Handler]] = dict.fromkeys(
    get_args(PassportOperation), _no_passport
)


def _stream(descriptor: int) -> socket.socket:
    """The socket that was handed over. Raises ``KEYISO_E_PROTOCOL`` for anything else."""
    try:
        handed = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise _no_stream() from None
    if (handed.family, handed.type) != (socket.AF_UNIX, socket.SOCK_STREAM):
        handed.close()
        raise _no_stream()
    return handed


def _no_stream() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_PROTOCOL, "what came with the message is not one end of a key channel"
    )
