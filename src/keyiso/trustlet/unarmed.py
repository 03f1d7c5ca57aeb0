"""What serves in the place of a pair that could not be armed: it says why, and nothing else."""

import os
import signal
import socket

from keyiso import limits
from keyiso.clock import SystemClock
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.quotas import Quotas
from keyiso.server.connection import Connection, Endpoint
from keyiso.server.heartbeat import start_heartbeat
from keyiso.server.identity import new_identity
from keyiso.server.listener import Listener
from keyiso.server.loop import Loop
from keyiso.server.peer import Peer
from keyiso.server.startup import stop_on_signals
from keyiso.status import Status
from keyiso.wire.link import GetWorkerIsolation
from keyiso.wire.messages import Call
from keyiso.wire.results import Isolation, IsolationState


def serve_refusal(
    service: str,
    keyiso_uid: int,
    listening: socket.socket,
    reason: NCryptError,
    state: IsolationState = "unavailable",
) -> None:
    """Answer the KeyIso service's questions until this process is asked to end."""
    answer = Isolation(state, reason.cause, reason.action)

    def tell(connection: Connection, call: Call[GetWorkerIsolation]) -> Isolation:
        return answer

    def admit(peer: Peer) -> None:
        if peer.uid != keyiso_uid:
            raise ncrypt_error(
                Status.KEYISO_E_PEER_REFUSED, f"uid {peer.uid} is not the KeyIso service"
            )

    loop = Loop(SystemClock())
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a guardian has them blocked
    stop_on_signals(loop, loop.stop)
    endpoint = Endpoint(
        operations=GetWorkerIsolation,
        handlers={GetWorkerIsolation: tell},
        frame_bytes=limits.CONTROL_FRAME_BYTES,
        admit=admit,
    )
    Listener(loop, new_identity(service), endpoint, listening, Quotas())
    start_heartbeat(loop, os.environ)
    loop.run()
