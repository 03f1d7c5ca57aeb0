"""Passport's operations in a worker: PINs that come sealed, containers, and tickets.

One thread beside the loop does all that takes long: attempts of a container must not run at once,
and nobody who uses a key waits for them. Who may ask was decided by the KeyIso service.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from keyiso import limits
from keyiso.crypto.container_secret import ContainerSecret, container_of
from keyiso.crypto.key_blob import Root
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_rules import PinRules
from keyiso.crypto.pin_seal import PinTerms, Purpose
from keyiso.errors import ncrypt_error
from keyiso.server.background import Background
from keyiso.server.connection import Connection, Handler
from keyiso.server.loop import Loop
from keyiso.server.promise import Promise
from keyiso.status import Status
from keyiso.trustlet.passport.container import Container
from keyiso.trustlet.passport.container_record import container_files
from keyiso.trustlet.passport.durable_file import make_directory
from keyiso.trustlet.passport.pin_keys import PinKeys
from keyiso.trustlet.passport.tickets import Tickets, TicketTerms
from keyiso.trustlet.passport.tpm_place import TpmPlace
from keyiso.wire.messages import Call
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
    SealedPin,
    SetResetKey,
    Ticket,
    TicketUse,
    UnlockPin,
)

T = TypeVar("T")

TpmOpener = Callable[[], AbstractContextManager[TpmPlace | None]]
"""Opens the machine's TPM, while a block lasts; there may be none."""


class Desk:
    """Serves Passport in one worker. Its containers lie in a directory of their own, one for each
    user.
    """

    def __init__(
        self,
        loop: Loop,
        directory: Path,
        root: Callable[[], Root],
        tpm: TpmOpener,
        rules: PinRules,
    ) -> None:
        """``root`` seals what is stored; it raises where there is none. ``rules`` are for new
        containers and for those that are reset.
        """
        self._rules = rules
        self._loop = loop
        self._directory = directory
        self._root = root
        self._tpm = tpm
        self._pin_keys = PinKeys(loop.clock)
        self._tickets = Tickets(loop.clock)
        self._work = Background(loop)
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

    def redeem(
        self, ticket: bytes, owner: int, use: TicketUse, container_id: bytes = b""
    ) -> ContainerSecret:
        """The secret of a container, by default the user's own, for a ticket. Raises what
        `Tickets.take` does.
        """
        terms = TicketTerms(owner, container_id or container_of(owner), use)
        return self._tickets.take(ticket, terms)

    def _make_pin_key(self, connection: Connection, call: Call[MakePinKey]) -> PinKey:
        operation = call.operation
        terms = _terms(operation, operation.purpose)
        return PinKey(terms.container_id, self._pin_keys.make(terms))

    async def _enrol(self, connection: Connection, call: Call[EnrolPin]) -> ContainerState:
        operation = call.operation
        owner, attempt_id, rules = operation.owner, operation.attempt_id, self._rules

        def enrol(container: Container) -> ContainerState:
            container.enrol(owner, pin, rules.policy, rules.schedule, attempt_id=attempt_id)
            return _state(container, owner)

        with self._opened(operation.pin, operation, "enrol") as pin:
            return await self._do(connection, owner, enrol, makes=True)

    async def _attempt(self, connection: Connection, call: Call[AttemptPin]) -> Ticket:
        operation = call.operation
        owner, use = operation.owner, operation.ticket_use
        with self._opened(operation.pin, operation, "verify") as pin:
            secret = await self._do(
                connection, owner, lambda container: container.verify(operation.attempt_id, pin)
            )
        if use == "none":
            return Ticket(b"")
        ticket = self._tickets.make(owner, use, secret)
        self._loop.call_later(limits.TICKET_SECONDS, self._tickets.drop_old)
        return Ticket(ticket)

    async def _change(self, connection: Connection, call: Call[ChangePin]) -> ContainerState:
        operation = call.operation

        def change(container: Container) -> ContainerState:
            container.change(operation.attempt_id, old, new)
            return _state(container, operation.owner)

        with (
            self._opened(operation.old, operation, "change") as old,
            self._opened(operation.new, operation, "new") as new,
        ):
            state = await self._do(connection, operation.owner, change)
        self._tickets.end_all_of(operation.owner)
        return state

    async def _reset(self, connection: Connection, call: Call[ResetPin]) -> ContainerState:
        operation = call.operation

        def reset(container: Container) -> ContainerState:
            container.reset(pin, self._rules)
            return _state(container, operation.owner)

        with self._opened(operation.pin, operation, "new") as pin:
            state = await self._do(connection, operation.owner, reset)
        self._tickets.end_all_of(operation.owner)
        return state

    async def _get_container(
        self, connection: Connection, call: Call[GetContainer]
    ) -> ContainerState:
        owner = call.operation.owner
        return await self._do(connection, owner, lambda container: _state(container, owner))

    async def _set_reset_key(
        self, connection: Connection, call: Call[SetResetKey]
    ) -> ContainerState:
        operation = call.operation

        def set_reset_key(container: Container) -> ContainerState:
            container.set_reset_key(operation.attempt_id, pin, operation.reset_key)
            return _state(container, operation.owner)

        with self._opened(operation.pin, operation, "reset-key") as pin:
            return await self._do(connection, operation.owner, set_reset_key)

    async def _request_reset(
        self, connection: Connection, call: Call[RequestReset]
    ) -> ResetRequested:
        return ResetRequested(
            await self._do(
                connection, call.operation.owner, lambda container: container.request_reset()
            )
        )

    async def _unlock(self, connection: Connection, call: Call[UnlockPin]) -> ContainerState:
        operation = call.operation

        def unlock(container: Container) -> ContainerState:
            container.unlock(operation.attempt_id, pin, operation.answer)
            return _state(container, operation.owner)

        with self._opened(operation.pin, operation, "new") as pin:
            state = await self._do(connection, operation.owner, unlock)
        self._tickets.end_all_of(operation.owner)
        return state

    def _opened(
        self,
        sealed: SealedPin,
        operation: EnrolPin | AttemptPin | ChangePin | ResetPin | SetResetKey | UnlockPin,
        purpose: Purpose,
    ) -> Pin:
        return self._pin_keys.open(sealed.public_key, sealed.sealed, _terms(operation, purpose))

    def _do(
        self,
        connection: Connection,
        owner: int,
        work: Callable[[Container], T],
        *,
        makes: bool = False,
    ) -> Promise[T]:
        """Do something with a user's container when its turn comes, if somebody still waits."""

        def do() -> T:
            with self._container(owner, makes=makes) as container:
                return work(container)

        return self._work.run(do, lambda: connection.open)

    @contextlib.contextmanager
    def _container(self, owner: int, *, makes: bool) -> Iterator[Container]:
        directory, container_id = self._directory / str(owner), container_of(owner)
        if makes:
            make_directory(directory)
        elif not directory.is_dir():
            raise ncrypt_error(
                Status.NTE_NOT_FOUND, f"uid {owner} has no container", "Enrol a PIN first."
            )
        files = container_files(directory, [self._root()], container_id)
        with self._tpm() as place:
            yield Container(container_id, files, place, self._loop.clock)


def _terms(
    operation: MakePinKey | EnrolPin | AttemptPin | ChangePin | ResetPin | SetResetKey | UnlockPin,
    purpose: Purpose,
) -> PinTerms:
    """What a PIN must have been sealed for. Raises ``NTE_INVALID_PARAMETER``."""
    owner, attempt_id = operation.owner, operation.attempt_id
    if len(attempt_id) != limits.ATTEMPT_ID_BYTES:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"an attempt's id has {limits.ATTEMPT_ID_BYTES} bytes"
        )
    return PinTerms(owner, container_of(owner), purpose, attempt_id)


def _state(container: Container, owner: int) -> ContainerState:
    status = container.status()
    return ContainerState(
        container_of(owner),
        status.protector,
        status.attempts_left,
        status.locked_seconds,
        status.has_expired,
        status.not_stopped,
        status.reset_key,
    )
