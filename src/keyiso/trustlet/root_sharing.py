"""How armed workers hand each other their roots.

The boot root is made once in a boot, inside an armed worker, and lives in the memory of all of
them. A new one asks, once it is armed; the answer is sealed to a key that it made after that.
Between them is a Unix socket, on which nobody learns anything. Who asks is a process of the same
user: that a process of this user, or root, is an armed worker of unchanged code is proven by
nothing here.
"""

import os
import socket

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.crypto.root_seal import Roots, open_roots, seal_roots
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.quotas import Quotas
from keyiso.server.connection import Connection, Endpoint
from keyiso.server.identity import Identity
from keyiso.server.listener import Listener
from keyiso.server.loop import Loop
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.wire.messages import Call, Failure, Refusal, Return, Welcome, result_of
from keyiso.wire.operations import PairOperation, SharedRoots, ShareRoots
from keyiso.wire.session import RemoteProtocolError, Role, Session, client_decoder


def share_roots(
    loop: Loop, identity: Identity, roots: Roots, listening: socket.socket, quotas: Quotas
) -> Listener:
    """Give the roots to workers of this user that ask for them."""

    def share(connection: Connection, call: Call[ShareRoots]) -> SharedRoots:
        return SharedRoots(seal_roots(roots, call.operation.public_key, identity.boot_id))

    endpoint = Endpoint(
        operations=PairOperation,
        handlers={ShareRoots: share},
        frame_bytes=limits.KEY_FRAME_BYTES,
        admit=_admit,
    )
    return Listener(loop, identity, endpoint, listening, quotas)


def ask_for_roots(sibling: socket.socket, identity: Identity) -> Roots:
    """The roots of a sibling, over a connection that was made before this worker was armed.

    Raises ``KEYISO_E_STALE`` for one that does not answer, or has none to give.
    """
    key = X25519PrivateKey.generate()
    operation = ShareRoots(key.public_key().public_bytes_raw())
    session = Session(Role.CLIENT, client_decoder(), frame_bytes=limits.KEY_FRAME_BYTES)
    sibling.settimeout(limits.SHARING_SECONDS)
    try:
        sibling.sendall(session.hello(identity.service))
        while data := sibling.recv(limits.READ_BYTES):
            for message in session.receive(data):
                match message:
                    case Welcome():
                        sibling.sendall(session.send(Call(1, operation)))
                    case Return():
                        sealed = result_of(operation, message).sealed
                        return open_roots(sealed, key, identity.boot_id)
                    case Failure() | Refusal():
                        raise _no_answer(message.cause)
    except (OSError, RemoteProtocolError) as error:
        raise _no_answer(str(error)) from None
    finally:
        sibling.close()
    raise _no_answer("it ended")


def _admit(peer: Peer) -> None:
    if peer.uid != os.geteuid():
        raise ncrypt_error(
            Status.KEYISO_E_PEER_REFUSED, f"uid {peer.uid} is no worker of this instance"
        )


def _no_answer(cause: str) -> NCryptError:
    return ncrypt_error(Status.KEYISO_E_STALE, f"a sibling gives no roots: {cause}")
