"""What the KeyIso service writes into the event log."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.container_secret import container_of
from keyiso.crypto.key_header import KeyHeader
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.events.allowance import Allowance
from keyiso.events.channels import OFF, level_word
from keyiso.events.records import (
    CHANNEL_SWITCHED,
    CREATE_KEY_FAILED,
    KEY_DELETE_FAILED,
    KEY_DELETE_SUCCEEDED,
    KEY_DELETED,
    KEY_WRITE_FAILED,
    KEY_WRITE_SUCCEEDED,
    KEY_WRITTEN,
    OPEN_KEY_FAILED,
    OPEN_PROVIDER_FAILED,
    OPERATION_FAILED,
    PIN_INDEX_LOST,
    VBS_CLIENT_OPERATION_FAILED,
    Channel,
    Event,
    EventType,
    Level,
)
from keyiso.events.writer import EventWriter
from keyiso.flags import (
    NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION,
    NCRYPT_CIPHER_OPERATION,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_SECRET_AGREEMENT_OPERATION,
    NCRYPT_SIGNATURE_OPERATION,
)
from keyiso.keyiso_service.client import Client
from keyiso.names import printable_name
from keyiso.status import Status
from keyiso.wire.control import (
    DeleteKey,
    EventChannel,
    OpenEphemeral,
    OpenKey,
    ReportProviderFailure,
    ResealKeys,
    SetAccess,
    SetEventChannel,
    SetProperty,
)
from keyiso.wire.key_terms import KeyTerms
from keyiso.wire.link import FailedUse
from keyiso.wire.messages import Call
from keyiso.wire.passport import ContainerState

_CREATED = 1
_REPLACED = 2
_PROPERTY_SET = 3
_ACCESS_CHANGED = 4
_RESEALED = 5
_DELETED = 1
"""KeyModificationType and DeletionType: their values are not public; these are keyiso's."""

_OPERATION_TYPES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "Sign": NCRYPT_SIGNATURE_OPERATION,
        "Decrypt": NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION,
        "Derive": NCRYPT_SECRET_AGREEMENT_OPERATION,
        "Encipher": NCRYPT_CIPHER_OPERATION,
        "Decipher": NCRYPT_CIPHER_OPERATION,
    }
)
"""OperationType by the operation of the key channel. Windows' values are not public; keyiso takes
the bit of NCRYPT_*_OPERATION, and 0 for an export, which has none."""

Values = Mapping[str, str | int]


class Audit:
    """Writes events with the caller, the key and the request's trace."""

    def __init__(self, writer: EventWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._allowance = Allowance()
        self._lost_indices = Allowance(1, 1 / limits.LOST_INDEX_SECONDS)
        """By the container's user."""

    @property
    def lost(self) -> int:
        """Events that could not be written to the log."""
        return self._writer.log.lost

    @property
    def lost_journal(self) -> int:
        """Events that the journal did not take."""
        return self._writer.journal.lost

    @property
    def suppressed(self) -> int:
        """Failures of users who had too many of them."""
        return self._allowance.suppressed

    # --- failures ------------------------------------------------------------------------------

    def use_failed(self, failed: FailedUse, failures: int, successes: int) -> None:
        """Something with a loaded key failed; with how often it did, or did not, with this key."""
        self._write_failure(
            OPERATION_FAILED,
            failed.uid,
            failed.pid,
            failed.trace,
            {
                "OperationType": _OPERATION_TYPES.get(failed.function, 0),
                "ProviderName": _clipped(failed.provider),
                "KeyName": _printable(failed.name),
                "KeyType": failed.scope,
                "AlgorithmName": _clipped(failed.algorithm),
                "Status": failed.status,
                "ProcessName": _clipped(failed.process),
            },
            more={
                "function": _clipped(failed.function),
                "key_id": failed.key_id.hex(),
                "count": failed.count,
                "failures": failures,
                "successes": successes,
            },
            count=failed.count,
        )

    def provider_failed(self, client: Client, call: Call[ReportProviderFailure]) -> None:
        """The client says that it could not open a provider."""
        operation = call.operation
        self._write_failure(
            OPEN_PROVIDER_FAILED,
            client.peer.uid,
            client.peer.pid,
            call.trace,
            {
                "ProviderName": _clipped(operation.provider),
                "Status": operation.status & 0xFFFFFFFF,
                "ProcessName": client.process,
            },
            more={"reported_by": "client"},
        )

    def open_failed(
        self, client: Client, call: Call[OpenKey] | Call[OpenEphemeral], error: NCryptError
    ) -> None:
        """Of an ephemeral key no name is known, and no provider before it is open."""
        provider, name = "", b""
        if isinstance(call.operation, OpenKey):
            provider, name = call.operation.provider, call.operation.name
        self._write(
            OPEN_KEY_FAILED,
            client,
            call.trace,
            {
                "ProviderName": _clipped(provider),
                "KeyName": _printable(name),
                "Status": error.status,
                "ProcessName": client.process,
            },
            error,
        )

    def create_failed(
        self, client: Client, terms: KeyTerms, trace: str, error: NCryptError
    ) -> None:
        self._write(
            CREATE_KEY_FAILED,
            client,
            trace,
            {
                "ProviderName": _clipped(terms.provider),
                "KeyName": _printable(terms.name),
                "AlgorithmName": _clipped(terms.algorithm),
                "Flags": _flags(terms),
                "Status": error.status,
                "ProcessName": client.process,
            },
            error,
        )

    def write_failed(
        self, client: Client, terms: KeyTerms, trace: str, error: NCryptError, *, replaced: bool
    ) -> None:
        values = _written_values(client, terms, "", error.status, replaced=replaced)
        self._write(KEY_WRITE_FAILED, client, trace, values, error)

    def delete_failed(self, client: Client, call: Call[DeleteKey], error: NCryptError) -> None:
        values = _deleted_values(client, call.operation, error.status)
        self._write(KEY_DELETE_FAILED, client, call.trace, values, error)

    def change_failed(
        self, client: Client, call: Call[SetProperty] | Call[SetAccess], error: NCryptError
    ) -> None:
        values = _changed_values(client, call.operation, error.status)
        self._write(KEY_WRITE_FAILED, client, call.trace, values, error)

    # --- changes -------------------------------------------------------------------------------

    def changed(
        self,
        client: Client,
        call: Call[SetProperty] | Call[SetAccess],
        *,
        repeated: bool = False,
    ) -> None:
        """A property or the access list of a key was changed, now or when it was asked first."""
        values = _changed_values(client, call.operation, Status.ERROR_SUCCESS)
        more = _repeated(repeated)
        self._write(KEY_WRITE_SUCCEEDED, client, call.trace, values, more=more)
        self._write(KEY_WRITTEN, client, call.trace, values, more=more)

    def resealed(self, client: Client, call: Call[ResealKeys], header: KeyHeader) -> None:
        """A key was sealed by another machine root. Its owner asked for nothing."""
        values = {
            "ProviderName": _clipped(header.provider),
            "KeyModificationType": _RESEALED,
            "Flags": NCRYPT_MACHINE_KEY_FLAG if header.scope == "machine" else 0,
            **_who(client, header.name, header.key_id.hex()),
            "ServiceTag": "",
            "Status": Status.ERROR_SUCCESS,
        }
        self._write(KEY_WRITE_SUCCEEDED, client, call.trace, values)
        self._write(KEY_WRITTEN, client, call.trace, values)

    def written(
        self,
        client: Client,
        terms: KeyTerms,
        trace: str,
        header: KeyHeader,
        *,
        replaced: bool,
        repeated: bool = False,
    ) -> None:
        """A key was stored, now or, for a repeated request, when it came first."""
        values = _written_values(
            client, terms, header.key_id.hex(), Status.ERROR_SUCCESS, replaced=replaced
        )
        more = _repeated(repeated)
        self._write(KEY_WRITE_SUCCEEDED, client, trace, values, more=more)
        self._write(KEY_WRITTEN, client, trace, values, more=more)

    def deleted(self, client: Client, call: Call[DeleteKey], *, repeated: bool = False) -> None:
        """A key was deleted, now or, for a repeated request, when it came first."""
        values = _deleted_values(client, call.operation, Status.ERROR_SUCCESS)
        more = _repeated(repeated)
        self._write(KEY_DELETE_SUCCEEDED, client, call.trace, values, more=more)
        self._write(KEY_DELETED, client, call.trace, values, more=more)

    # --- vbs -----------------------------------------------------------------------------------

    def isolation(self, kind: EventType, values: Values, more: Values) -> None:
        """Something about the armed workers, which nobody asked for."""
        self._writer.write(Event(kind, self._clock.time(), values, os.geteuid(), more=more))

    def isolation_of_client(self, client: Client, kind: EventType, values: Values) -> None:
        """Something about the armed workers and one client."""
        self._write(kind, client, "", values)

    def isolation_failed(
        self, uid: int, pid: int, trace: str, values: Values, more: Values, count: int
    ) -> None:
        """Something with a vbs key failed, for a client."""
        self._write_failure(
            VBS_CLIENT_OPERATION_FAILED, uid, pid, trace, values, more=more, count=count
        )

    # --- Passport ------------------------------------------------------------------------------

    def container(
        self,
        client: Client,
        kind: EventType,
        owner: int,
        state: ContainerState,
        trace: str,
        error: NCryptError | None = None,
        more: Values = MappingProxyType({}),
    ) -> None:
        """Something became of a user's container, with the error that it came with."""
        values = _container_values(client, state.container_id, owner, state.protector)
        self._write(kind, client, trace, values, error, more)

    def pin_index_lost(self, client: Client, owner: int, trace: str, error: NCryptError) -> None:
        """The TPM does not keep a user's PIN any more. Each attempt finds that: it is recorded
        once in a while."""
        if self._lost_indices.take(owner, self._clock.monotonic()) is None:
            return
        values = _container_values(client, container_of(owner), owner, "tpm")
        self._write(PIN_INDEX_LOST, client, trace, {**values, "Status": error.status}, error)

    # --- channels ------------------------------------------------------------------------------

    def channels(self) -> tuple[EventChannel, ...]:
        return tuple(
            EventChannel(name.value, level) for name, level in self._writer.channels.levels.items()
        )

    def switch_channel(self, client: Client, call: Call[SetEventChannel]) -> None:
        """Switch a channel, once the log says who does it.

        Raises ``NTE_INVALID_PARAMETER``, and ``KEYISO_E_STORE`` when the log or the file of the
        channels cannot be written: the channel is then as it was.
        """
        channel, level = _channel_and_level(call.operation)
        why = "the event log cannot be written, and nothing is switched unseen"
        if self._write_switch(client, call.trace, channel, level, Status.ERROR_SUCCESS):
            try:
                self._writer.channels.switch(channel, level)
                return
            except OSError as error:
                why = f"its file cannot be written: {error.strerror}"
        self._write_switch(client, call.trace, channel, level, Status.KEYISO_E_STORE)
        raise ncrypt_error(
            Status.KEYISO_E_STORE,
            f"the event channel was not switched: {why}",
            "Make room on the disk, or see who owns the events directory.",
        )

    def _write_switch(
        self, client: Client, trace: str, channel: Channel, level: int, status: int
    ) -> bool:
        values = {
            "ChannelName": channel.value,
            "NewLevel": level_word(level),
            "OldLevel": level_word(self._writer.channels.levels[channel]),
            "ProcessName": client.process,
            "ProcessId": client.peer.pid,
            "UserId": str(client.peer.uid),
            "Status": status,
        }
        return self._write(CHANNEL_SWITCHED, client, trace, values)

    # --- writing -------------------------------------------------------------------------------

    def _write(
        self,
        kind: EventType,
        client: Client,
        trace: str,
        values: Values,
        error: NCryptError | None = None,
        more: Values = MappingProxyType({}),
    ) -> bool:
        peer = client.peer
        if error is not None:
            return self._write_failure(
                kind, peer.uid, peer.pid, trace, values, error=error, more=more
            )
        event = Event(kind, self._clock.time(), values, peer.uid, trace, (), peer.pid, more)
        return self._writer.write(event)

    def _write_failure(
        self,
        kind: EventType,
        uid: int,
        pid: int,
        trace: str,
        values: Values,
        *,
        error: NCryptError | None = None,
        more: Values = MappingProxyType({}),
        count: int = 1,
    ) -> bool:
        """Of what one user does in vain only so much is recorded, and the rest counted."""
        suppressed = self._allowance.take(uid, self._clock.monotonic(), count)
        if suppressed is None:
            return False
        if suppressed:
            more = {**more, "suppressed": suppressed}
        chain = error.chain if error is not None else ()
        return self._writer.write(
            Event(kind, self._clock.time(), values, uid, trace, chain, pid, more)
        )


def _written_values(
    client: Client, terms: KeyTerms, unique_name: str, status: int, *, replaced: bool
) -> Values:
    return {
        "ProviderName": _clipped(terms.provider),
        "KeyModificationType": _REPLACED if replaced else _CREATED,
        "Flags": _flags(terms),
        **_who(client, terms.name, unique_name),
        "ServiceTag": "",
        "Status": status,
    }


def _changed_values(client: Client, operation: SetProperty | SetAccess, status: int) -> Values:
    is_access = isinstance(operation, SetAccess)
    return {
        "ProviderName": _clipped(operation.provider),
        "KeyModificationType": _ACCESS_CHANGED if is_access else _PROPERTY_SET,
        "Flags": NCRYPT_MACHINE_KEY_FLAG if operation.scope == "machine" else 0,
        **_who(client, operation.name, operation.key_id[: limits.KEY_ID_BYTES].hex()),
        "ServiceTag": "",
        "Status": status,
    }


def _deleted_values(client: Client, operation: DeleteKey, status: int) -> Values:
    return {
        "ProviderName": _clipped(operation.provider),
        "Flags": NCRYPT_MACHINE_KEY_FLAG if operation.scope == "machine" else 0,
        "DeletionType": _DELETED,
        **_who(client, operation.name, operation.key_id[: limits.KEY_ID_BYTES].hex()),
        "ServiceTag": "",
        "Status": status,
    }


def _container_values(client: Client, container_id: bytes, owner: int, protector: str) -> Values:
    return {
        "ContainerId": container_id.hex(),
        "OwnerId": str(owner),
        "Protector": protector,
        "ProcessName": client.process,
        "ProcessId": client.peer.pid,
        "UserId": str(client.peer.uid),
    }


def _repeated(repeated: bool) -> Values:
    return {"repeated": 1} if repeated else {}


def _channel_and_level(operation: SetEventChannel) -> tuple[Channel, int]:
    try:
        channel = Channel(operation.channel)
        level = OFF if operation.level == OFF else Level(operation.level)
    except ValueError:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            "there is no such event channel or level",
            f"Channels are {', '.join(Channel)}.",
        ) from None
    return channel, level


def _who(client: Client, name: bytes, unique_name: str) -> dict[str, str | int]:
    return {
        "KeyName": _printable(name),
        "KeyFileName": unique_name,
        "ProcessName": client.process,
        "ProcessId": client.peer.pid,
        "ThreadId": 0,
        "UserId": str(client.peer.uid),
    }


def _flags(terms: KeyTerms) -> int:
    machine = NCRYPT_MACHINE_KEY_FLAG if terms.scope == "machine" else 0
    return machine | (NCRYPT_OVERWRITE_KEY_FLAG if terms.overwrite else 0)


def _printable(name: bytes) -> str:
    """A name as it came, which need not be one, in no more characters than a name may have."""
    text = name[: 2 * limits.NAME_UNITS].decode("utf-16-le", "replace")
    return printable_name(text)


def _clipped(text: str) -> str:
    return printable_name(text[: limits.PROVIDER_NAME_UNITS])
