"""Clients that another service of keyiso serves, and asks for here.

Such a service hands over the socket by which the application is connected to it. Whose that is,
the kernel says, and not the service; what may be asked through it is what the service is for.
"""

import os
import socket
from collections.abc import Mapping
from typing import Any, get_args

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.identifiers import MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.keyiso_service.client import bound_client
from keyiso.server.connection import Connection, Handler
from keyiso.server.peer import Peer, peer_of
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
from keyiso.wire.passport import PassportOperation

_OF_A_KEY = (OpenKey, FindKey, DeleteKey, EnumKeys, SetProperty, GetProperty, SetAccess)
_OF_A_CONTAINER = get_args(PassportOperation)


def served_peer(descriptor: int) -> Peer:
    """Who connected a socket to the service that hands it over; it is closed here.

    Raises ``NTE_INVALID_PARAMETER`` for what is no socket that a service has accepted.
    """
    try:
        handed_over = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise _not_accepted() from None
    with handed_over:
        # The end that has connected would name who listens, which is root mostly. Its peer has a
        # name, by which it was found; the peer of an accepted end has none.
        if handed_over.family != socket.AF_UNIX or _name_of_peer(handed_over):
            raise _not_accepted()
        return peer_of(handed_over)


def _name_of_peer(connected: socket.socket) -> str | bytes:
    try:
        name: str | bytes = connected.getpeername()
    except OSError:  # nobody is at the other end: it listens, or was never connected
        raise _not_accepted() from None
    return name


def _not_accepted() -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, "what came is no socket that an application has connected"
    )


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
