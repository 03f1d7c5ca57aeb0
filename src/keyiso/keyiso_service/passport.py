"""Passport in the KeyIso service: who may ask what of whose container.

A PIN comes sealed to the worker that has the containers, and goes on as it is. That worker believes
what is said here about who asks.
"""

import contextlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.events.records import (
    CONTAINER_LOCKED,
    PIN_CHANGED,
    PIN_ENROLLED,
    PIN_RESET,
    RESET_KEY_SET,
    EventType,
)
from keyiso.keyiso_service.access import ROOT_UID, Authority
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.client import Client, bound_client
from keyiso.keyiso_service.workers import Workers
from keyiso.server.connection import Connection, Handler
from keyiso.server.identity import Identity
from keyiso.status import Status
from keyiso.wire.messages import Call, Operation, R_co
from keyiso.wire.passport import (
    AttemptPin,
    ChangePin,
    ContainerState,
    EnrolPin,
    GetContainer,
    MakePinKey,
    PinKey,
    RequestReset,
    ResetPin,
    ResetRequested,
    SetResetKey,
    Ticket,
    UnlockPin,
)

_INDEX_LOST: Final = (Status.KEYISO_E_TPM_PIN_INDEX, Status.KEYISO_E_TPM_CHANGED)


class Passport:
    """Passport's operations for applications."""

    def __init__(
        self, identity: Identity, workers: Workers, authority: Authority, audit: Audit
    ) -> None:
        self._identity = identity
        self._workers = workers
        self._authority = authority
        self._audit = audit
        self.handlers: Mapping[type, Handler] = MappingProxyType(
            {
                MakePinKey: self._make_pin_key,
                EnrolPin: self._enrol,
                AttemptPin: self._attempt,
                ChangePin: self._change,
                ResetPin: self._reset,
                GetContainer: self._get_container,
                SetResetKey: self._set_reset_key,
                RequestReset: self._request_reset,
                UnlockPin: self._unlock,
            }
        )

    async def _make_pin_key(self, connection: Connection, call: Call[MakePinKey]) -> PinKey:
        client, operation = bound_client(connection), call.operation
        if operation.purpose == "new":
            _check_may_reset(client, operation.owner)
        else:
            _check_is_owner(client, operation.owner)
        worker = self._workers.passport()
        async with self._workers.turn(worker, client):
            return await worker.call(operation, trace=call.trace, hops=self._hops(call))

    async def _enrol(self, connection: Connection, call: Call[EnrolPin]) -> ContainerState:
        client = bound_client(connection)
        _check_is_owner(client, call.operation.owner)
        return await self._changed(client, call, PIN_ENROLLED)

    async def _attempt(self, connection: Connection, call: Call[AttemptPin]) -> Ticket:
        client = bound_client(connection)
        _check_is_owner(client, call.operation.owner)
        try:
            return await self._ask(client, call, call.operation)
        except NCryptError as error:
            await self._note_lock(client, call, error)
            raise

    async def _change(self, connection: Connection, call: Call[ChangePin]) -> ContainerState:
        client = bound_client(connection)
        _check_is_owner(client, call.operation.owner)
        try:
            return await self._changed(client, call, PIN_CHANGED)
        except NCryptError as error:
            await self._note_lock(client, call, error)
            raise

    async def _reset(self, connection: Connection, call: Call[ResetPin]) -> ContainerState:
        client = bound_client(connection)
        _check_may_reset(client, call.operation.owner)
        return await self._changed(client, call, PIN_RESET, keys="lost")

    async def _get_container(
        self, connection: Connection, call: Call[GetContainer]
    ) -> ContainerState:
        client = bound_client(connection)
        if client.peer.uid != call.operation.owner:
            self._authority.check_manages_instance(client.peer)
        return await self._ask(client, call, call.operation)

    async def _set_reset_key(
        self, connection: Connection, call: Call[SetResetKey]
    ) -> ContainerState:
        client, owner = bound_client(connection), call.operation.owner
        _check_is_owner(client, owner)
        try:
            state = await self._ask(client, call, call.operation)
        except NCryptError as error:
            await self._note_lock(client, call, error)
            raise
        more = {"reset_key": state.reset_key.hex()}
        self._audit.container(client, RESET_KEY_SET, owner, state, call.trace, more=more)
        return state

    async def _request_reset(
        self, connection: Connection, call: Call[RequestReset]
    ) -> ResetRequested:
        client = bound_client(connection)
        _check_may_reset(client, call.operation.owner)
        return await self._ask(client, call, call.operation)

    async def _unlock(self, connection: Connection, call: Call[UnlockPin]) -> ContainerState:
        client = bound_client(connection)
        _check_may_reset(client, call.operation.owner)
        return await self._changed(client, call, PIN_RESET, keys="kept")

    async def _changed(
        self,
        client: Client,
        call: Call[EnrolPin] | Call[ChangePin] | Call[ResetPin] | Call[UnlockPin],
        kind: EventType,
        **more: str,
    ) -> ContainerState:
        """Have a container changed, and record that."""
        state = await self._ask(client, call, call.operation)
        self._audit.container(client, kind, call.operation.owner, state, call.trace, more=more)
        return state

    async def _note_lock(
        self,
        client: Client,
        call: Call[AttemptPin] | Call[ChangePin] | Call[SetResetKey],
        error: NCryptError,
    ) -> None:
        """Record that a container was locked, if it was the last attempt that failed."""
        if error.status != Status.NTE_INCORRECT_PASSWORD:
            return
        owner = call.operation.owner
        with contextlib.suppress(NCryptError):  # the worker ended; who repeats the attempt is told
            state = await self._ask(client, call, GetContainer(owner))
            if state.attempts_left == 0:
                self._audit.container(client, CONTAINER_LOCKED, owner, state, call.trace, error)

    async def _ask(self, client: Client, call: Call[Any], operation: Operation[R_co]) -> R_co:
        """Have the worker do something with a container, when it is this client's turn."""
        try:
            async with self._workers.pin_turn(client):
                return await self._workers.passport().call(
                    operation, trace=call.trace, hops=self._hops(call)
                )
        except NCryptError as error:
            if error.status in _INDEX_LOST:
                self._audit.pin_index_lost(client, call.operation.owner, call.trace, error)
            raise

    def _hops(self, call: Call[Any]) -> tuple[Hop, ...]:
        return self._identity.onward(call.hops, type(call.operation).__name__)


def _check_is_owner(client: Client, owner: int) -> None:
    """Raise ``NTE_PERM`` for who asks for somebody else, root too: a PIN is its user's."""
    if client.peer.uid != owner:
        raise _not_yours(client, owner)


def _check_may_reset(client: Client, owner: int) -> None:
    """The owner may, who loses his keys by it, and root for one who forgot his PIN."""
    if client.peer.uid not in (owner, ROOT_UID):
        raise _not_yours(client, owner)


def _not_yours(client: Client, owner: int) -> NCryptError:
    return ncrypt_error(
        Status.NTE_PERM,
        f"uid {client.peer.uid} may not use the Passport container of uid {owner}",
        "Ask as that user.",
    )
