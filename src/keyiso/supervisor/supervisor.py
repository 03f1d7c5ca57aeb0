"""The supervisor: listening sockets, children, status."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.paths import Instance
from keyiso.quotas import Quotas
from keyiso.server.connection import DONE, Connection, Endpoint
from keyiso.server.identity import Identity
from keyiso.server.listener import Listener
from keyiso.server.loop import Loop
from keyiso.status import Status
from keyiso.supervisor.child import Child
from keyiso.supervisor.layout import listen_at
from keyiso.supervisor.spawn import ServiceSpec, User
from keyiso.supervisor.watchdog import Watchdog
from keyiso.wire.messages import Call
from keyiso.wire.operations import (
    Done,
    GetSupervisorStatus,
    Stop,
    SupervisionOperation,
    SupervisorStatus,
)

_PATIENCE_SECONDS: Final = 5.0
"""How long services may take to end when they are asked to."""


class Supervisor:
    """Keeps the services of one instance running."""

    def __init__(
        self, loop: Loop, identity: Identity, instance: Instance, specs: Sequence[ServiceSpec]
    ) -> None:
        self._loop = loop
        self._identity = identity
        self._instance = instance
        self._started = loop.clock.time()
        self._stopping = False
        self._children = [Child(loop, spec, self._child_ended) for spec in specs]

    def hear(self, receiving: socket.socket) -> Watchdog:
        """Take the heartbeats of the services, and of nobody else."""
        return Watchdog(self._loop, receiving, self._beat)

    def _beat(self, pid: int) -> None:
        for child in self._children:
            if child.pid == pid:
                child.beat()

    def start(self) -> None:
        for child in self._children:
            child.start()

    def listen(self, listening: socket.socket, quotas: Quotas) -> Listener:
        """Answer questions about the services."""
        endpoint = Endpoint(
            operations=SupervisionOperation,
            handlers={GetSupervisorStatus: self._status, Stop: self._stop},
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
        self._child_ended()

    def _kill_all(self) -> None:
        for child in self._children:
            child.kill()

    def _child_ended(self) -> None:
        if self._stopping and not any(child.pid for child in self._children):
            self._loop.stop()

    def _status(self, connection: Connection, call: Call[GetSupervisorStatus]) -> SupervisorStatus:
        return SupervisorStatus(
            self._identity.pid,
            self._instance.system,
            self._started,
            tuple(child.status() for child in self._children),
        )

    def _stop(self, connection: Connection, call: Call[Stop]) -> Done:
        if connection.peer.uid not in (0, os.geteuid()):
            raise ncrypt_error(
                Status.NTE_PERM, f"uid {connection.peer.uid} may not stop this instance"
            )
        self._loop.call_later(0, self.stop)
        return DONE


def service_specs(
    instance: Instance,
    *,
    workers: int,
    keyiso: User | None,
    trustlet: User | None,
    manager_uids: Sequence[int],
    manager_gids: Sequence[int],
    may_create_root: bool,
    journal: Path,
    limits_set: Sequence[str] = (),
) -> tuple[ServiceSpec, ...]:
    """What an instance runs: the KeyIso service, workers that hold keys, a generator."""
    lowered = tuple(f"--limit={setting}" for setting in limits_set)
    names = [*(f"software-{number}" for number in range(workers)), "software-generator"]
    control = listen_at(instance.control_socket, mode=0o666 if instance.system else 0o600)
    keyiso_uid = os.geteuid() if keyiso is None else keyiso.uid
    links = {
        name: listen_at(instance.workers / f"{name}.sock", mode=0o600, user=keyiso)
        for name in names
    }
    service = ServiceSpec(
        "keyiso",
        "keyiso.keyiso_service",
        (
            f"--store={instance.store}",
            f"--ephemerals={instance.ephemerals}",
            f"--events={instance.events}",
            f"--journal={journal}",
            *(f"--worker={instance.workers / name}.sock" for name in names),
            *(("--system",) if instance.system else ()),
            *(f"--manager-uid={uid}" for uid in manager_uids),
            *(f"--manager-gid={gid}" for gid in manager_gids),
            *lowered,
        ),
        {"control": control.detach()},
        keyiso,
        instance.notify_socket,
    )
    return (
        service,
        *(
            ServiceSpec(
                name,
                "keyiso.trustlet",
                (
                    f"--service={name}",
                    f"--keyiso-uid={keyiso_uid}",
                    f"--machine-root={instance.software_machine_root}",
                    f"--boot-roots={instance.software_boot_roots}",
                    *(("--may-create-root",) if may_create_root else ()),
                    *lowered,
                ),
                {"link": link.detach()},
                trustlet,
                instance.notify_socket,
            )
            for name, link in links.items()
        ),
    )
