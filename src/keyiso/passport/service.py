"""The Passport service: ``python -I -m keyiso.passport.service``.

It serves the Passport key storage provider, and has the Passport container service do what is
asked. It has no keys, and no PINs: those come sealed to the trustlet, by a key that did not come
through here.
"""

import os
import socket
import sys

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.passport.hand_on import HANDED_ON, hand_on, hang_up
from keyiso.passport.process import ServiceProcess, start_service
from keyiso.passport.upstream import Upstream
from keyiso.server.connection import Connection, Endpoint
from keyiso.server.listener import Listener
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.wire.control import Bind, Bound
from keyiso.wire.messages import Call
from keyiso.wire.passport import PASSPORT_FEATURE
from keyiso.wire.passport_services import PassportServiceOperation, SignHash

_ROOT_UID = 0


class PassportService:
    """Serves applications."""

    def __init__(self, process: ServiceProcess) -> None:
        self._process = process

    def listen(self, listening: socket.socket) -> Listener:
        endpoint = Endpoint(
            operations=PassportServiceOperation,
            handlers={Bind: self._bind, SignHash: hand_on, **dict.fromkeys(HANDED_ON, hand_on)},
            frame_bytes=limits.CONTROL_FRAME_BYTES,
            admit=self._admit,
            closed=hang_up,
            features=(PASSPORT_FEATURE,),
        )
        process = self._process
        return Listener(process.loop, process.identity, endpoint, listening, process.quotas)

    def _admit(self, peer: Peer) -> None:
        if not self._process.system and peer.uid not in (os.geteuid(), _ROOT_UID):
            raise ncrypt_error(
                Status.KEYISO_E_PEER_REFUSED,
                f"this keyiso serves uid {os.geteuid()}, not uid {peer.uid}",
                "Use an instance of your own, or the system's.",
            )

    def _bind(self, connection: Connection, call: Call[Bind]) -> Bound:
        hang_up(connection)
        connection.state = Upstream(
            self._process.loop,
            self._process.identity,
            self._process.upstream,
            "passport-container",
            socket.socket(fileno=connection.duplicate()),
            call.operation.process,
        )
        return Bound(connection.peer.uid, 1)


def main(arguments: list[str]) -> int:
    return start_service(arguments, lambda process: PassportService(process).listen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
