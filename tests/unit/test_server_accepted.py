"""Whose a socket is that somebody else has accepted."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.server.peer import has_hung_up, peer_of_accepted
from keyiso.status import Status
from tests.conformance.statuses import fails


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "clients.sock")


@pytest.fixture
def listening(place: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.bind(place)
        one.listen()
        yield one


def test_an_accepted_end_names_who_has_connected(place: str, listening: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(place)
        accepted, _ = listening.accept()
        with accepted:
            peer = peer_of_accepted(accepted, place)
            assert (peer.pid, peer.uid) == (os.getpid(), os.geteuid())
            with fails(Status.NTE_INVALID_PARAMETER):
                peer_of_accepted(accepted, place + "x")
            assert not has_hung_up(accepted)
            client.close()
            assert has_hung_up(accepted)
            with fails(Status.NTE_INVALID_PARAMETER):
                peer_of_accepted(accepted, place)


def test_an_end_that_connects_is_none_whatever_its_name(
    tmp_path: Path, place: str, listening: socket.socket
) -> None:
    """It would name who listens. Its own name anybody chooses."""
    chosen = str(tmp_path / "chosen.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.bind(chosen)
        client.connect(place)
        assert client.getsockname() == chosen
        with fails(Status.NTE_INVALID_PARAMETER):
            peer_of_accepted(client, chosen)


def test_no_other_socket_is_one(place: str, listening: socket.socket) -> None:
    ours, theirs = socket.socketpair()
    datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server = socket.create_server(("127.0.0.1", 0))
    tcp = socket.create_connection(server.getsockname())
    with ours, theirs, datagrams, server, tcp:
        for one in (listening, ours, datagrams, server, tcp):
            with fails(Status.NTE_INVALID_PARAMETER):
                peer_of_accepted(one, place)
