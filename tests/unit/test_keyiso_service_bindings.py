"""Who is bound: what a KeyIso service and its workers know, put together, and bounded."""

from keyiso import limits
from keyiso.keyiso_service.bindings import bindings
from keyiso.keyiso_service.client import Client
from keyiso.server.peer import Peer
from keyiso.wire.control import BoundProcess, BoundWorker
from keyiso.wire.link import ChannelHolder, ChannelHolders

ID, WORKER = b"k" * 16, b"w" * 16


def client(pid: int, process: str) -> Client:
    return Client(
        Peer(pid, 1000, 1000, frozenset()), process, b"", bytes([pid % 256]), lambda: True
    )


def holders(*pids: int, more: int = 0) -> tuple[str, bytes, ChannelHolders]:
    held = tuple(ChannelHolder(1000, pid, "named by the worker", 2) for pid in pids)
    return "software-0", WORKER, ChannelHolders(held, more)


def test_connections_and_channels_of_one_process_stand_together() -> None:
    found = bindings(ID, [client(7, "web"), client(7, "web"), client(8, "ssh")], [holders(7, 9)])

    channels = (BoundWorker("software-0", WORKER, 2),)
    assert found.processes == (
        BoundProcess(7, 1000, "web", 2, channels),
        BoundProcess(8, 1000, "ssh", 1, ()),
        BoundProcess(9, 1000, "named by the worker", 0, channels),
    )
    assert (found.instance_id, found.more) == (ID, 0)


def test_the_processes_of_an_answer_are_bounded_and_the_others_counted() -> None:
    clients = [client(pid, "web") for pid in range(1, limits.BOUND_PROCESSES + 4)]

    found = bindings(ID, clients, [holders(more=5)])

    assert len(found.processes) == limits.BOUND_PROCESSES
    assert found.more == 3 + 5
