"""Asking the supervisor of an instance: what runs, and to end it.

These questions are about the instance as it is: nothing is started, and nothing is tried again.
"""

from keyiso import limits
from keyiso.client.connection import Connection, ConnectionLost, connect
from keyiso.errors import Hop, ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.wire.messages import Operation, R_co
from keyiso.wire.supervision import (
    GetSupervisorStatus,
    ReplacePairs,
    StartService,
    Stop,
    StopService,
    SupervisorStatus,
)

_TIMEOUT_SECONDS = 10.0


def supervisor_status(instance: Instance, trusted_uids: frozenset[int]) -> SupervisorStatus:
    """The processes of an instance.

    Raises ``KEYISO_E_SERVICE_UNAVAILABLE`` when it is not running under a supervisor of ours.
    """
    return _ask(instance, trusted_uids, GetSupervisorStatus())


def stop_instance(instance: Instance, trusted_uids: frozenset[int]) -> None:
    """Ask all processes of an instance to end. They do so after this has returned."""
    _ask(instance, trusted_uids, Stop())


def replace_pairs(instance: Instance, trusted_uids: frozenset[int]) -> None:
    """Have the armed workers started anew, one after the other. They are after this has
    returned.
    """
    _ask(instance, trusted_uids, ReplacePairs())


def stop_service(instance: Instance, trusted_uids: frozenset[int], service: str) -> None:
    """Have one service end, and not be started again before `start_service`. Raises
    ``NTE_NOT_FOUND`` for what is none, and for an armed worker.
    """
    _ask(instance, trusted_uids, StopService(service))


def start_service(instance: Instance, trusted_uids: frozenset[int], service: str) -> None:
    """Have a service started that was stopped. Raises as `stop_service` does."""
    _ask(instance, trusted_uids, StartService(service))


def _ask(instance: Instance, trusted_uids: frozenset[int], operation: Operation[R_co]) -> R_co:
    try:
        connected = connect(instance.supervisor_socket, trusted_uids, _TIMEOUT_SECONDS)
        connection = Connection(connected, "supervisor", frame_bytes=limits.CONTROL_FRAME_BYTES)
        connection.greet(_TIMEOUT_SECONDS)
        try:
            return connection.call(operation, trace="", hops=(), timeout=_TIMEOUT_SECONDS)
        finally:
            connection.close()
    except ConnectionLost as lost:
        raise ncrypt_error(
            Status.KEYISO_E_SERVICE_UNAVAILABLE,
            f"no supervisor answers at {instance.supervisor_socket}: {lost.reason}",
            "Start one with `keyiso serve`.",
            (Hop("supervisor", 0, lost.reason),),
        ) from None
