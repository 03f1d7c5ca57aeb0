"""Clients that another service of keyiso serves: it may ask for what it is there for, and for
nothing else.
"""

from collections.abc import Mapping
from typing import Any, get_args

from keyiso.errors import ncrypt_error
from keyiso.identifiers import MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.keyiso_service.client import bound_client
from keyiso.server.connection import Connection, Handler
from keyiso.status import Status
from keyiso.wire.control import (
    Attach,
    CreateKey,
    DeleteKey,
    EnumKeys,
    FindKey,
    GetProperty,
    OpenKey,
    SetAccess,
    SetProperty,
)
from keyiso.wire.messages import Call
from keyiso.wire.passport import ContainerOperation

_OF_A_KEY = (OpenKey, FindKey, DeleteKey, EnumKeys, SetProperty, GetProperty, SetAccess)
_OF_A_CONTAINER = get_args(ContainerOperation)


def handlers_for_passport(handlers: Mapping[type, Handler]) -> dict[type, Handler]:
    """Of the handlers for applications, those that Passport's services need, for Passport alone."""
    served = (Attach, CreateKey, *_OF_A_KEY, *_OF_A_CONTAINER)
    return {operation: _for_passport(handlers[operation]) for operation in served}


def _for_passport(handler: Handler) -> Handler:
    def handle(connection: Connection, call: Call[Any]) -> Any:
        bound_client(connection)
        _check_is_of_passport(call.operation)
        return handler(connection, call)

    return handle


def _check_is_of_passport(operation: Any) -> None:
    match operation:
        case CreateKey():
            allowed = operation.terms.provider == MS_NGC_KEY_STORAGE_PROVIDER
        case Attach():
            allowed = operation.passport
        case _:
            allowed = (
                isinstance(operation, _OF_A_CONTAINER)
                or operation.provider == MS_NGC_KEY_STORAGE_PROVIDER
            )
    if not allowed:
        raise ncrypt_error(
            Status.NTE_PERM, "a service of Passport may ask for keys of the Passport provider alone"
        )
