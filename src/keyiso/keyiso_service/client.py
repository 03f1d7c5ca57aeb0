"""A bound client of the KeyIso service."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from keyiso.errors import ncrypt_error
from keyiso.server.connection import Connection
from keyiso.server.peer import Peer
from keyiso.status import Status


@dataclass(frozen=True, slots=True)
class Client:
    """Who is at the other end, for as long as the connection lasts."""

    peer: Peer
    process: str
    """The client's own word for itself, printable; for people only."""
    group: bytes
    """SHA-256 of the secret that opens its ephemeral keys."""
    connection_id: bytes
    """Random, 16 bytes: what tells its connection from others at a worker."""
    here: Callable[[], bool]
    """The connection is still open, so that somebody wants an answer."""
    through: str = ""
    """The service of keyiso that asks for it; empty for one that asks itself."""


def hash_of_group(secret: bytes) -> bytes:
    """What a header keeps of a client's secret, so that a blob alone opens nothing."""
    return hashlib.sha256(b"keyiso client group 1" + secret).digest()


def bound_client(connection: Connection) -> Client:
    """The client of a connection. Raises ``KEYISO_E_PROTOCOL`` before it has bound."""
    if not isinstance(connection.state, Client):
        raise ncrypt_error(Status.KEYISO_E_PROTOCOL, "the client has not bound yet")
    return connection.state
