"""What the KeyIso service writes into the event log."""

from collections.abc import Mapping

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.key_header import KeyHeader
from keyiso.errors import NCryptError
from keyiso.events.log import EventLog
from keyiso.events.records import (
    CREATE_KEY_FAILED,
    KEY_DELETE_FAILED,
    KEY_DELETED,
    KEY_WRITE_FAILED,
    KEY_WRITTEN,
    OPEN_KEY_FAILED,
    Event,
    EventType,
)
from keyiso.flags import NCRYPT_MACHINE_KEY_FLAG, NCRYPT_OVERWRITE_KEY_FLAG
from keyiso.keyiso_service.client import Client
from keyiso.names import printable_name
from keyiso.status import Status
from keyiso.wire.messages import Call
from keyiso.wire.operations import DeleteKey, KeyTerms, OpenKey, SetAccess, SetProperty

_CREATED = 1
_REPLACED = 2
_PROPERTY_SET = 3
_ACCESS_CHANGED = 4
_DELETED = 1
"""KeyModificationType and DeletionType: their values are not public; these are keyiso's."""


class Audit:
    """Writes events with the caller, the key and the request's trace."""

    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def open_failed(self, client: Client, call: Call[OpenKey], error: NCryptError) -> None:
        self._write(
            OPEN_KEY_FAILED,
            client,
            call.trace,
            {
                "ProviderName": _clipped(call.operation.provider),
                "KeyName": _printable(call.operation.name),
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

    def write_failed(self, client: Client, terms: KeyTerms, trace: str, error: NCryptError) -> None:
        self._write_event(KEY_WRITE_FAILED, client, terms, trace, "", _CREATED, error)

    def written(
        self, client: Client, terms: KeyTerms, trace: str, header: KeyHeader, *, replaced: bool
    ) -> None:
        modification = _REPLACED if replaced else _CREATED
        self._write_event(
            KEY_WRITTEN, client, terms, trace, header.key_id.hex(), modification, None
        )

    def deleted(self, client: Client, call: Call[DeleteKey]) -> None:
        self._delete_event(KEY_DELETED, client, call, None)

    def delete_failed(self, client: Client, call: Call[DeleteKey], error: NCryptError) -> None:
        self._delete_event(KEY_DELETE_FAILED, client, call, error)

    def changed(self, client: Client, call: Call[SetProperty] | Call[SetAccess]) -> None:
        """A property or the access list of a key was changed."""
        operation = call.operation
        is_access = isinstance(operation, SetAccess)
        self._write(
            KEY_WRITTEN,
            client,
            call.trace,
            {
                "ProviderName": _clipped(operation.provider),
                "KeyModificationType": _ACCESS_CHANGED if is_access else _PROPERTY_SET,
                "Flags": NCRYPT_MACHINE_KEY_FLAG if operation.scope == "machine" else 0,
                **_who(client, operation.name, operation.key_id.hex()),
                "ServiceTag": "",
                "Status": Status.ERROR_SUCCESS,
            },
            None,
        )

    def _write_event(
        self,
        kind: EventType,
        client: Client,
        terms: KeyTerms,
        trace: str,
        unique_name: str,
        modification: int,
        error: NCryptError | None,
    ) -> None:
        self._write(
            kind,
            client,
            trace,
            {
                "ProviderName": _clipped(terms.provider),
                "KeyModificationType": modification,
                "Flags": _flags(terms),
                **_who(client, terms.name, unique_name),
                "ServiceTag": "",
                "Status": _status(error),
            },
            error,
        )

    def _delete_event(
        self,
        kind: EventType,
        client: Client,
        call: Call[DeleteKey],
        error: NCryptError | None,
    ) -> None:
        operation = call.operation
        self._write(
            kind,
            client,
            call.trace,
            {
                "ProviderName": _clipped(operation.provider),
                "Flags": NCRYPT_MACHINE_KEY_FLAG if operation.scope == "machine" else 0,
                "DeletionType": _DELETED,
                **_who(client, operation.name, operation.key_id.hex()),
                "ServiceTag": "",
                "Status": _status(error),
            },
            error,
        )

    def _write(
        self,
        kind: EventType,
        client: Client,
        trace: str,
        values: Mapping[str, str | int],
        error: NCryptError | None,
    ) -> None:
        chain = error.chain if error is not None else ()
        self._log.write(Event(kind, self._clock.time(), values, client.peer.uid, trace, chain))


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


def _status(error: NCryptError | None) -> int:
    return Status.ERROR_SUCCESS if error is None else error.status


def _printable(name: bytes) -> str:
    """A name as it came, which need not be one, in no more characters than a name may have."""
    text = name[: 2 * limits.NAME_UNITS].decode("utf-16-le", "replace")
    return printable_name(text)


def _clipped(text: str) -> str:
    return printable_name(text[: limits.PROVIDER_NAME_UNITS])
