"""Passport's two services: what an application asks of the first, that of the second, and that of
the KeyIso service.

They repeat nothing themselves, and most goes through them as it is: the operations are those of
the control socket, and two of their own.
"""

from keyiso.crypto.key_header import Scope
from keyiso.crypto.signatures import Padding
from keyiso.wire.channel import Signature
from keyiso.wire.control import (
    Attach,
    Bind,
    CreateKey,
    DeleteKey,
    EnumKeys,
    FindKey,
    GetProperty,
    OpenKey,
    SetAccess,
    SetProperty,
)
from keyiso.wire.messages import Operation
from keyiso.wire.passport import ContainerOperation
from keyiso.wire.results import Done


class BindFor(Operation[Done], frozen=True, array_like=True, tag=33):
    """Bind as the application that the caller serves: as who has connected the socket that comes
    with the message.
    """

    process: str
    """The application's own word for itself, as in `Bind`."""


class SignHash(Operation[Signature], frozen=True, array_like=True, tag=34):
    """Sign with a key of the caller's container."""

    provider: str
    scope: Scope
    name: bytes
    key_id: bytes
    fingerprint: bytes
    """Of the key that is meant: with another one of this name nothing is signed."""
    ticket: bytes
    """For a right PIN, for use."""
    digest: bytes
    padding: Padding


HandedOn = (
    FindKey
    | CreateKey
    | DeleteKey
    | EnumKeys
    | SetProperty
    | GetProperty
    | SetAccess
    | ContainerOperation
)
"""What goes through both services to the KeyIso service as it is."""

PassportServiceOperation = Bind | SignHash | HandedOn
ContainerServiceOperation = BindFor | SignHash | HandedOn
ServedOperation = BindFor | Attach | OpenKey | HandedOn
"""What the container service asks of the KeyIso service, for keys of the Passport provider."""
