"""The Passport container service: ``python -I -m keyiso.passport.container_service``.

It is where the containers of users are asked for, and uses their keys: as a client of the KeyIso
service, bound anew for each application. What opens them, the trustlet has.
"""

import os
import socket
import sys

from keyiso import limits
from keyiso.crypto.public_keys import fingerprint
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.hand_on import HANDED_ON, hand_on, hang_up, upstream_of
from keyiso.passport.process import ServiceProcess, start_service
from keyiso.passport.upstream import Upstream
from keyiso.server.application import Application
from keyiso.server.connection import DONE, Connection, Endpoint
from keyiso.server.listener import Listener
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.wire.channel import Sign, Signature
from keyiso.wire.control import Attach, OpenKey
from keyiso.wire.messages import Call
from keyiso.wire.passport import PASSPORT_FEATURE
from keyiso.wire.passport_services import BindFor, ContainerServiceOperation, SignHash
from keyiso.wire.results import Done, Opened


class ContainerService:
    """Serves the Passport service, for each of its applications."""

    def __init__(self, process: ServiceProcess) -> None:
        self._process = process

    def listen(self, listening: socket.socket) -> Listener:
        endpoint = Endpoint(
            operations=ContainerServiceOperation,
            handlers={
                BindFor: self._bind_for,
                SignHash: self._sign,
                **dict.fromkeys(HANDED_ON, hand_on),
            },
            frame_bytes=limits.CONTROL_FRAME_BYTES,
            admit=_check_is_passport_service,
            closed=hang_up,
            passes_descriptors=True,
            features=(PASSPORT_FEATURE,),
        )
        process = self._process
        return Listener(process.loop, process.identity, endpoint, listening, process.quotas)

    def _bind_for(self, connection: Connection, call: Call[BindFor]) -> Done:
        hang_up(connection)
        application = Application(
            self._process.loop,
            connection.take_descriptor(),
            self._process.passport_socket,
            connection.close,
        )
        try:
            connection.stand_for(application.peer)
        except NCryptError:
            application.close()
            raise
        connection.state = Upstream(
            self._process.loop,
            self._process.identity,
            self._process.upstream,
            "keyiso",
            application,
            call.operation.process,
        )
        return DONE

    async def _sign(self, connection: Connection, call: Call[SignHash]) -> Signature:
        """Over a key channel for this one signature: the trustlet has the key open so long."""
        upstream, operation = upstream_of(connection), call.operation
        attached = await upstream.call(Attach(level="software", passport=True), call)
        with upstream.channel(attached) as channel:
            await channel.when_ready()
            opened = await upstream.call(
                OpenKey(
                    operation.provider,
                    operation.scope,
                    operation.name,
                    attached.channel_id,
                    attached.worker_instance,
                    operation.ticket,
                ),
                call,
            )
            _check_is_meant(opened, operation)
            return await channel.call(
                Sign(opened.slot, operation.digest, operation.padding),
                trace=call.trace,
                hops=self._process.identity.onward(call.hops, "SignHash"),
            )


def _check_is_passport_service(peer: Peer) -> None:
    if peer.uid != os.geteuid():  # both are the same user
        raise ncrypt_error(
            Status.KEYISO_E_PEER_REFUSED, f"uid {peer.uid} does not run the Passport service"
        )


def _check_is_meant(opened: Opened, operation: SignHash) -> None:
    if (
        opened.header.key_id != operation.key_id
        or fingerprint(opened.header.public_key) != operation.fingerprint
    ):
        raise ncrypt_error(
            Status.NTE_BAD_KEYSET,
            "the key that was opened was replaced by another one of its name",
            "Open it again to use the new key.",
        )


def main(arguments: list[str]) -> int:
    return start_service(arguments, lambda process: ContainerService(process).listen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
