"""How armed workers hand each other their roots.

The boot root is made once in a boot, inside an armed worker, and lives in the memory of all of
them. A new one asks, once it is armed; the answer is sealed to a key that it made after that.
Between them is a Unix socket, on which nobody learns anything. Who asks is a process of the same
user: that a process of this user, or root, is an armed worker of unchanged code is proven by
nothing here.
"""

import os
import socket
from collections.abc import Callable

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
from keyiso.wire.pair import PairOperation, SharedRoots, ShareRoots
from keyiso.wire.session import RemoteProtocolError, Role, Session, client_decoder


class Giving:
    """How often roots are given: ``times``, or without it as often as somebody asks."""

    def __init__(
        self, times: int | None = None, *, over: Callable[[], None] = lambda: None
    ) -> None:
        """``over`` is called once, when nothing is given any more."""
        self._left = times
        self._over = over
        self._ended = False

    def check(self) -> None:
        """Raises ``KEYISO_E_TPM_LATCHED`` when it is over."""
        if self._ended or self._left == 0:
            raise ncrypt_error(
                Status.KEYISO_E_TPM_LATCHED, "the roots of this boot have been handed out"
            )

    def count(self) -> None:
        """They were given once more."""
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.end()

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._over()


def share_roots(
    loop: Loop,
    identity: Identity,
    roots: Roots,
    listening: socket.socket,
    quotas: Quotas,
    giving: Giving,
    trouble: NCryptError | None,
) -> Listener:
    """Give the roots to workers of this user that ask for them, and say why none is of the
    machine."""

    def share(connection: Connection, call: Call[ShareRoots]) -> SharedRoots:
        giving.check()
        sealed = seal_roots(roots, call.operation.public_key, identity.boot_id)
        giving.count()
        if trouble is None:
            return SharedRoots(sealed)
        return SharedRoots(sealed, trouble.status, trouble.cause, trouble.action)

    endpoint = Endpoint(
        operations=PairOperation,
        handlers={ShareRoots: share},
        frame_bytes=limits.KEY_FRAME_BYTES,
        admit=_admit,
    )
    return Listener(loop, identity, endpoint, listening, quotas)


def ask_for_roots(sibling: socket.socket, identity: Identity) -> tuple[Roots, NCryptError | None]:
    """The roots of a sibling, over a connection that was made before this worker was armed; and
    why it has none of the machine.

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
                        shared = result_of(operation, message)
                        return open_roots(shared.sealed, key, identity.boot_id), _trouble(shared)
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


def _trouble(shared: SharedRoots) -> NCryptError | None:
    if not shared.status:
        return None
    return ncrypt_error(shared.status, shared.cause, shared.action)


def _no_answer(cause: str) -> NCryptError:
    return ncrypt_error(Status.KEYISO_E_STALE, f"a sibling gives no roots: {cause}")
