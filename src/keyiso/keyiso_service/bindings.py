"""Who is bound to this KeyIso service, and has key channels to its workers."""

from collections.abc import Iterable

from keyiso import limits
from keyiso.keyiso_service.client import Client
from keyiso.wire.control import Bindings, BoundProcess, BoundWorker
from keyiso.wire.link import ChannelHolders

_Process = tuple[int, int]
"""Its pid and uid."""


def bindings(
    instance_id: bytes,
    clients: Iterable[Client],
    channels: Iterable[tuple[str, bytes, ChannelHolders]],
) -> Bindings:
    """The processes with connections to the KeyIso service or with key channels: those that the
    workers know outlive a KeyIso service.
    """
    names: dict[_Process, str] = {}
    connections: dict[_Process, int] = {}
    workers: dict[_Process, list[BoundWorker]] = {}
    more = 0
    for client in clients:
        process = client.peer.pid, client.peer.uid
        names.setdefault(process, _called(client))
        connections[process] = connections.get(process, 0) + 1
    for worker, instance, answer in channels:
        more += answer.more
        for holder in answer.holders:
            process = holder.pid, holder.uid
            names.setdefault(process, holder.process)
            workers.setdefault(process, []).append(BoundWorker(worker, instance, holder.channels))
    shown = sorted(names)[: limits.BOUND_PROCESSES]
    return Bindings(
        instance_id,
        tuple(
            BoundProcess(
                *process,
                names[process],
                connections.get(process, 0),
                tuple(workers.get(process, ())),
            )
            for process in shown
        ),
        more + len(names) - len(shown),
    )


def _called(client: Client) -> str:
    """What a client calls itself, and which service of keyiso asks for it."""
    return f"{client.process}, by {client.through}" if client.through else client.process
