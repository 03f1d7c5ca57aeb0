"""One real TPM, reached in every way."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from keyiso.tpm.constants import TPM_SU
from keyiso.tpm.general_commands import TPM2_Startup
from keyiso.tpm.latch import read_pcr_state
from keyiso.tpm.sealed_root import seal_machine_root, unseal_root
from keyiso.tpm.srk import enrol_srk
from keyiso.tpm.transport import DeviceTransport, Transport, connect
from tests.tpm.swtpm import Swtpm, tpm_on


@contextmanager
def by_path(swtpm: Swtpm) -> Iterator[Transport]:
    with connect(swtpm.socket) as transport:
        yield transport


@contextmanager
def by_port(swtpm: Swtpm) -> Iterator[Transport]:
    """The same TPM, started again to listen at a port."""
    swtpm.power_off()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]  # swtpm takes no port that is bound already
    swtpm.start(port)
    with connect(("127.0.0.1", port)) as transport:
        tpm_on(transport).run(TPM2_Startup(TPM_SU.CLEAR))
        yield transport
    swtpm.power_off()
    swtpm.boot()


@contextmanager
def as_a_device(swtpm: Swtpm) -> Iterator[Transport]:
    """A descriptor that takes a command with one write and gives the answer with one read, as
    /dev/tpmrm0 does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def serve() -> None:
        with connect(swtpm.socket) as transport:
            while command := theirs.recv(4096):
                theirs.send(transport.exchange(command))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield DeviceTransport(ours.fileno())
    finally:
        ours.close()
        thread.join(timeout=30)
        theirs.close()


@pytest.mark.parametrize("way", [by_path, by_port, as_a_device])
def test_a_root_is_sealed_and_unsealed(
    swtpm: Swtpm, way: Callable[[Swtpm], AbstractContextManager[Transport]]
) -> None:
    with way(swtpm) as transport:
        tpm = tpm_on(transport)
        srk = enrol_srk(tpm)
        root = seal_machine_root(tpm, b"root", srk, read_pcr_state(tpm, srk))
        assert unseal_root(tpm, root) == b"root"
