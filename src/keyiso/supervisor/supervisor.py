"""The supervisor: listening sockets, children, status."""

import os
import socket
from collections.abc import Sequence
from typing import Final

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.names import printable_name
from keyiso.paths import Instance
from keyiso.quotas import Quotas
from keyiso.server.connection import DONE, Connection, Endpoint
from keyiso.server.identity import Identity
from keyiso.server.listener import Listener
from keyiso.server.loop import Loop
from keyiso.status import Status
from keyiso.supervisor.child import Child
from keyiso.supervisor.layout import keep_file
from keyiso.supervisor.pairs import Pairs
from keyiso.supervisor.patience import Patience
from keyiso.supervisor.spawn import ServiceSpec
from keyiso.supervisor.watchdog import Watchdog, extension_of
from keyiso.wire.messages import Call
from keyiso.wire.results import Done
from keyiso.wire.supervision import (
    GetSupervisorStatus,
    ReplacePairs,
    StartService,
    Stop,
    StopService,
    SupervisionOperation,
    SupervisorStatus,
)

_PATIENCE_SECONDS: Final = 5.0
"""How long services may take to end when they are asked to."""


_BOOT_ROOT: Final = b"X_KEYISO_BOOT_ROOT="
"""A pair has this kept, in hexadecimal: the boot root as the TPM has sealed it."""


class Supervisor:
    """Keeps the services of one instance running."""

    def __init__(
        self,
        loop: Loop,
        identity: Identity,
        instance: Instance,
        specs: Sequence[ServiceSpec],
        *,
        once: bool = False,
        may_create_root: bool = False,
        shields: tuple[str, ...] = (),
    ) -> None:
        """``once``: the TPM gives the machine roots out once in a boot. ``may_create_root``: there
        are no keys yet, so that a ``software`` worker that finds no machine root makes one.
        ``shields``: those that this process holds up.
        """
        self._shields = shields
        self._may_create_root = may_create_root
        self._loop = loop
        self._identity = identity
        self._instance = instance
        self._started = loop.clock.time()
        self._stopping = False
        self._to_replace: list[Child] = []
        sharing = {
            spec.service: instance.sharing_socket(spec.service) for spec in specs if spec.is_pair
        }
        self._pairs = Pairs(sharing, self._start_waiting, once=once)
        patience = Patience()
        self._children = [
            Child(loop, spec, self._child_ended, self._admit, patience) for spec in specs
        ]

    def _admit(self, service: str) -> Sequence[str] | None:
        """What a service is told when it starts, or None for one that has to wait."""
        if service.startswith("software-") and self._may_create_root:
            return ("--may-create-root",)
        return self._pairs.admit(service)

    def hear(self, receiving: socket.socket) -> Watchdog:
        """Take the heartbeats of the services, and of nobody else."""
        return Watchdog(self._loop, receiving, self._beat)

    def _beat(self, pid: int, lines: frozenset[bytes]) -> None:
        for child in self._children:
            if child.is_of(pid):
                if b"READY=1" in lines:
                    child.ready(pid)
                    self._pairs.ready(child.service, armed=b"STATUS=armed" in lines)
                    if child.service.startswith("software-"):
                        self._may_create_root = False  # there is one now, and keys will need it
                    if child.is_pair:
                        self._replace_next()
                if b"WATCHDOG=1" in lines:
                    child.beat()
                if seconds := extension_of(lines):
                    child.extend(seconds)
                if child.is_pair:
                    self._heard_of_roots(lines)
                return

    def _heard_of_roots(self, lines: frozenset[bytes]) -> None:
        if b"STATUS=latched" in lines:
            self._pairs.latched()
        for line in lines:
            if line.startswith(_BOOT_ROOT):
                keep_file(self._instance.vbs_boot_root, line.removeprefix(_BOOT_ROOT))

    def start(self) -> None:
        for child in self._children:
            child.begin()

    def _start_waiting(self) -> None:
        for child in self._children:
            if child.waits:
                child.start()

    def listen(self, listening: socket.socket, quotas: Quotas) -> Listener:
        """Answer questions about the services."""
        endpoint = Endpoint(
            operations=SupervisionOperation,
            handlers={
                GetSupervisorStatus: self._status,
                Stop: self._stop,
                ReplacePairs: self._replace_pairs,
                StopService: self._stop_service,
                StartService: self._start_service,
            },
            frame_bytes=limits.CONTROL_FRAME_BYTES,
            admit=lambda peer: None,
        )
        return Listener(self._loop, self._identity, endpoint, listening, quotas)

    def stop(self) -> None:
        """End all services, then the loop."""
        if self._stopping:
            return
        self._stopping = True
        for child in self._children:
            child.stop()
        self._loop.call_later(_PATIENCE_SECONDS, self._kill_all)
        self._stop_if_all_ended()

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()

    def _child_ended(self, child: Child) -> None:
        self._pairs.ended(child.service)
        for other in self._children:
            if other.service in self._pairs.useless():
                other.replace()
        self._stop_if_all_ended()

    def _stop_if_all_ended(self) -> None:
        if self._stopping and not any(child.pid for child in self._children):
            self._loop.stop()

    def _status(self, connection: Connection, call: Call[GetSupervisorStatus]) -> SupervisorStatus:
        return SupervisorStatus(
            self._identity.pid,
            self._instance.system,
            self._started,
            tuple(child.status() for child in self._children),
            self._shields,
        )

    def _stop(self, connection: Connection, call: Call[Stop]) -> Done:
        _check_may_stop(connection)
        self._loop.call_later(0, self.stop)
        return DONE

    def _replace_pairs(self, connection: Connection, call: Call[ReplacePairs]) -> Done:
        _check_may_stop(connection)
        if self._pairs.once:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "with once-per-boot no new process would get the roots",
                "Start keyiso again, or the machine when the latch has fallen.",
            )
        self._to_replace = [child for child in self._children if child.is_pair and child.pid]
        self._replace_next()
        return DONE

    def _stop_service(self, connection: Connection, call: Call[StopService]) -> Done:
        self._held_by(connection, call.operation.service).hold()
        return DONE

    def _start_service(self, connection: Connection, call: Call[StartService]) -> Done:
        self._held_by(connection, call.operation.service).release()
        return DONE

    def _held_by(self, connection: Connection, service: str) -> Child:
        """A service that who asks may stop and start."""
        _check_may_stop(connection)
        for child in self._children:
            if child.service == service and not child.is_pair:
                return child
        names = ", ".join(child.service for child in self._children if not child.is_pair)
        raise ncrypt_error(
            Status.NTE_NOT_FOUND,
            f"there is no service '{printable_name(service)}' that can be stopped",
            f"There are: {names}. Armed workers end with keyiso: `keyiso stop`.",
        )

    def _replace_next(self) -> None:
        """While another one has the roots, which are in their memory alone."""
        if self._to_replace and self._pairs.can_spare(self._to_replace[0].service):
            child = self._to_replace.pop(0)
            self._pairs.ended(child.service)
            child.replace()


def _check_may_stop(connection: Connection) -> None:
    if connection.peer.uid not in (0, os.geteuid()):
        raise ncrypt_error(Status.NTE_PERM, f"uid {connection.peer.uid} may not stop this instance")
