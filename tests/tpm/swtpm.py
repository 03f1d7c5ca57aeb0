"""A TPM in software of a test's own, and tpm2-tools, which know nothing of keyiso, to ask it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from keyiso.clock import SystemClock
from keyiso.tpm.capabilities import handles
from keyiso.tpm.constants import TPM_HT, TPM_SU
from keyiso.tpm.general_commands import TPM2_FlushContext, TPM2_Shutdown, TPM2_Startup
from keyiso.tpm.tpm import Tpm
from keyiso.tpm.transport import Transport, connect

RELAY = Path(__file__).with_name("stdio_relay.py")
START_SECONDS = 30.0

missing = [name for name in ("swtpm", "tpm2_createprimary") if shutil.which(name) is None]
SKIP_REASON = f"not installed: {', '.join(missing)} (packages swtpm, tpm2-tools)"


def tpm_on(transport: Transport) -> Tpm:
    return Tpm(transport, SystemClock())


def flush_all(tpm: Tpm) -> None:
    """Have a TPM forget every object and session."""
    for kind in (TPM_HT.TRANSIENT, TPM_HT.LOADED_SESSION, TPM_HT.SAVED_SESSION):
        for handle in handles(tpm, kind):
            tpm.run(TPM2_FlushContext(handle))


class Swtpm:
    """A process of swtpm; its state is in a directory and outlives the process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "tpm.sock"
        self._state = directory / "state"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0) -> None:
        """Power on; listen at the socket, or at a port of this machine. TPM2_Startup is not
        sent."""
        self._state.mkdir(exist_ok=True)
        server = f"type=unixio,path={self.socket}"
        if port:
            server = f"type=tcp,bindaddr=127.0.0.1,port={port}"
        with open(self.directory / "swtpm.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # a test run that is killed leaves nothing
                    *("swtpm", "socket"),
                    "--tpm2",
                    *("--tpmstate", f"dir={self._state}"),
                    *("--server", server),
                    *("--flags", "not-need-init"),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens(port):
            assert self._process.poll() is None, (self.directory / "swtpm.log").read_text()
            assert time.monotonic() < deadline, "swtpm does not listen"
            time.sleep(0.005)

    def power_off(self) -> None:
        """Without a word to the TPM."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def boot(self) -> None:
        """Power on and start up, as a machine does."""
        self.start()
        with self.opened() as tpm:
            tpm.run(TPM2_Startup(TPM_SU.CLEAR))

    def reboot(self, *, orderly: bool = True) -> None:
        """A restart of the machine."""
        if orderly:
            with self.opened() as tpm:
                tpm.run(TPM2_Shutdown(TPM_SU.CLEAR))
        self.power_off()
        self.boot()

    def sleep(self, *, to_disk: bool) -> None:
        """Suspend to RAM or to disk, and wake up."""
        with self.opened() as tpm:
            tpm.run(TPM2_Shutdown(TPM_SU.STATE))
        self.power_off()
        self.start()
        with self.opened() as tpm:
            tpm.run(TPM2_Startup(TPM_SU.CLEAR if to_disk else TPM_SU.STATE))

    @contextlib.contextmanager
    def transport(self) -> Iterator[Transport]:
        """A connection of our own. swtpm serves one at a time."""
        with connect(self.socket) as transport:
            yield transport

    @contextlib.contextmanager
    def opened(self) -> Iterator[Tpm]:
        with self.transport() as transport:
            yield tpm_on(transport)

    def tool(self, *arguments: str | Path, fails: bool = False) -> str:
        """What one of tpm2-tools prints; both of its streams when it is to fail."""
        done = subprocess.run(
            [str(one) for one in arguments],
            cwd=self.directory,
            env={
                **os.environ,
                "TPM2TOOLS_TCTI": f"cmd:{sys.executable} -I {RELAY} {self.socket}",
                "TSS2_LOG": "all+none",
            },
            capture_output=True,
            timeout=60,
        )
        text = done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")
        assert bool(done.returncode) == fails, text
        return text if fails else done.stdout.decode(errors="replace")

    def flush_all(self) -> None:
        """What tools without a resource manager leave behind."""
        with self.opened() as tpm:
            flush_all(tpm)

    def _listens(self, port: int) -> bool:
        with socket.socket(socket.AF_INET if port else socket.AF_UNIX) as probe:
            return probe.connect_ex(("127.0.0.1", port) if port else str(self.socket)) == 0


ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt"
UNIQUE = {"ecc": (b"\x20\0" + bytes(128)) * 2, "rsa": b"\0\x01" + bytes(256)}
"""TPMU_PUBLIC_ID as the tools take it: a structure in memory, with room for the longest curve."""


def make_srk_for_tools(swtpm: Swtpm, algorithm: str = "ecc") -> None:
    """The storage root key as ``srk.ctx``, by tpm2-tools alone."""
    (swtpm.directory / "unique").write_bytes(UNIQUE[algorithm])
    swtpm.tool(
        *("tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", algorithm),
        *("-a", ATTRIBUTES, "-u", "unique", "-c", "srk.ctx"),
    )
    swtpm.tool("tpm2_flushcontext", "-t")
