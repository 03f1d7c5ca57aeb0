"""The TPM of a guest: a process of swtpm that lives as long as the machine has power."""

import contextlib
import shutil
import socket
import subprocess
from pathlib import Path

from tests.tpm.swtpm import Swtpm


class VirtualTpm:
    """Its state is in a directory and outlives the process, as a chip's outlives the power."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def power_on(self) -> socket.socket:
        """Start it. Returns its control connection, which is for the machine; the TPM ends when
        that is closed."""
        state = self._directory / "state"
        state.mkdir(exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs, open(self._directory / "swtpm.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # a test run that is killed leaves nothing
                    *("swtpm", "socket"),
                    "--tpm2",
                    *("--tpmstate", f"dir={state}"),
                    *("--ctrl", f"type=unixio,clientfd={theirs.fileno()}"),
                    "--terminate",
                ],
                stdout=log,
                stderr=log,
                pass_fds=(theirs.fileno(),),
            )
        return ours

    def power_off(self) -> None:
        """Without a word to the TPM."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def copy(self, directory: Path) -> "VirtualTpm":
        """The same chip, as it is while it has no power."""
        shutil.copytree(self._directory, directory)
        return VirtualTpm(directory)

    def clear(self) -> None:
        """What a button in the firmware's set-up does (TPM2_Clear by the platform); to be pressed
        while the machine is off."""
        chip = Swtpm(self._directory)
        with contextlib.ExitStack() as stack:
            stack.callback(chip.power_off)
            chip.boot()
            chip.tool("tpm2_clear", "-c", "p")
