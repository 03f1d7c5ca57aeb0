"""Ways to a TPM: a device, and stream sockets."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.status import Status
from keyiso.tpm.transport import DeviceTransport, SocketTransport, connect, open_device
from tests.conformance.statuses import fails

COMMAND = bytes.fromhex("8001 0000000c 0000017b 0002")
ANSWER = bytes.fromhex("8001 0000000e 00000000 0002 abcd")
NOBODY = 65534

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def stream() -> Iterator[Pair]:
    """Two ends of a stream; what the TPM will say can be sent before it is asked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def device() -> Iterator[Pair]:
    """Two ends that keep messages apart, as a device does: one write, one read."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_a_device_is_written_once_and_read_once(device: Pair) -> None:
    ours, theirs = device
    theirs.send(ANSWER)

    assert DeviceTransport(ours.fileno()).exchange(COMMAND) == ANSWER
    assert theirs.recv(100) == COMMAND


def test_a_device_that_fails_is_an_error(device: Pair) -> None:
    ours, theirs = device
    theirs.close()
    with fails(Status.NTE_DEVICE_NOT_READY):
        DeviceTransport(ours.fileno()).exchange(COMMAND)


def test_a_device_is_closed_after_the_block(tmp_path: Path) -> None:
    """A file will do: it is a place that can be written and read."""
    path = tmp_path / "tpm"
    path.touch()
    before = len(os.listdir("/proc/self/fd"))
    with open_device(path) as transport:
        assert len(os.listdir("/proc/self/fd")) == before + 1
        assert transport.exchange(COMMAND) == b""

    assert len(os.listdir("/proc/self/fd")) == before
    assert path.read_bytes() == COMMAND


def test_a_device_that_is_missing_is_explained(tmp_path: Path) -> None:
    with fails(Status.NTE_DEVICE_NOT_FOUND) as caught, open_device(tmp_path / "tpmrm0"):
        pass

    assert "firmware" in caught.value.action


def test_a_device_of_others_is_explained(tmp_path: Path) -> None:
    (tmp_path / "tpmrm0").touch(0)
    uid = os.geteuid()
    os.seteuid(uid or NOBODY)  # root opens everything
    try:
        with fails(Status.NTE_PERM), open_device(tmp_path / "tpmrm0"):
            pass
    finally:
        os.seteuid(uid)


def test_an_answer_in_pieces_is_put_together(stream: Pair) -> None:
    ours, theirs = stream
    transport = SocketTransport(ours)
    for piece in (ANSWER[:3], ANSWER[3:10], ANSWER[10:11], ANSWER[11:], ANSWER):
        theirs.sendall(piece)

    assert [transport.exchange(COMMAND), transport.exchange(COMMAND)] == [ANSWER, ANSWER]


@pytest.mark.parametrize("size", [0, 9, limits.TPM_MESSAGE_BYTES + 1, 2**32 - 1])
def test_an_answer_of_an_impossible_size_is_refused(stream: Pair, size: int) -> None:
    """And nothing is asked over a connection that has lost its place."""
    ours, theirs = stream
    theirs.sendall(b"\x80\x01" + size.to_bytes(4) + bytes(8))
    transport = SocketTransport(ours)
    with fails(Status.KEYISO_E_TPM_ANSWER):
        transport.exchange(COMMAND)
    with pytest.raises(OSError, match="Broken pipe"):
        theirs.sendall(ANSWER)
    with fails(Status.NTE_DEVICE_NOT_READY):
        transport.exchange(COMMAND)


def test_what_comes_late_is_not_the_answer_to_another_command(
    stream: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "TPM_ANSWER_SECONDS", 0.01)
    ours, theirs = stream
    transport = SocketTransport(ours)
    with fails(Status.NTE_DEVICE_NOT_READY):
        transport.exchange(COMMAND)
    with pytest.raises(OSError, match="Broken pipe"):
        theirs.sendall(ANSWER)
    with fails(Status.NTE_DEVICE_NOT_READY):
        transport.exchange(COMMAND)


def test_a_connection_that_ends_is_an_error(stream: Pair) -> None:
    ours, theirs = stream
    theirs.sendall(ANSWER[:5])
    theirs.shutdown(socket.SHUT_WR)
    with fails(Status.NTE_DEVICE_NOT_READY):
        SocketTransport(ours).exchange(COMMAND)


@pytest.mark.parametrize("family", ["path", "port"])
def test_nobody_listening_is_explained(tmp_path: Path, family: str) -> None:
    with socket.socket() as bound:  # and not listening: nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        address = tmp_path / "none.sock" if family == "path" else bound.getsockname()
        with fails(Status.NTE_DEVICE_NOT_FOUND), connect(address):
            pass
