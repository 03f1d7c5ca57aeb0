"""What both Passport services do with most of what they are asked: they have the next one do it."""

from typing import Any, Final, get_args

from keyiso.errors import ncrypt_error
from keyiso.passport.upstream import Upstream
from keyiso.server.connection import Connection
from keyiso.status import Status
from keyiso.wire.messages import Call
from keyiso.wire.passport_services import HandedOn

HANDED_ON: Final[tuple[type, ...]] = get_args(HandedOn)


async def hand_on(connection: Connection, call: Call[Any]) -> Any:
    """A handler: what the next service answers."""
    return await upstream_of(connection).call(call.operation, call)


def upstream_of(connection: Connection) -> Upstream:
    """Raises ``KEYISO_E_PROTOCOL`` for who has not bound."""
    if not isinstance(connection.state, Upstream):
        raise ncrypt_error(Status.KEYISO_E_PROTOCOL, "the client has not bound yet")
    return connection.state


def hang_up(connection: Connection) -> None:
    """Ask nothing more for a client that left, or that binds anew."""
    if isinstance(connection.state, Upstream):
        upstream, connection.state = connection.state, None
        upstream.close()
