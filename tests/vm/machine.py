"""A virtual machine: a disk, a TPM, power, and a line to the agent that runs in it."""

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.vm.channel import Channel, GuestEnded, GuestSilent
from tests.vm.requirement import kernels, program
from tests.vm.virtual_tpm import VirtualTpm

BOOT_SECONDS = 400.0
"""A kernel boots in some seconds, and an agent is there; several times that on a busy machine."""
COMMAND_SECONDS = 400.0
_CONSOLE_BYTES = 4000
"""What a failure shows of the console."""
_ACCELERATOR = os.environ.get("KEYISO_VM_ACCELERATOR", "tcg")
"""An emulator by default: that /dev/kvm opens does not mean that it runs a kernel."""
_PROCESSORS = min(2, os.cpu_count() or 1)
_CPU = "max,la57=off,avx=off,avx2=off"
"""What takes long to emulate is left out."""

_KERNEL_OPTIONS = (
    "root=/dev/nvme0n1 rw rootwait rootfstype=ext4",
    "console=ttyS0 quiet reboot=t mitigations=off",
    # What an emulator has translated once, it uses again only at the same address.
    "norandmaps",
    "secretmem.enable=1",  # before Linux 6.5 it is off
)

_PRELUDE = f"""
import json, sys
from keyiso import Key, NCryptError, Protection
from keyiso.status import status_name

sys.path.insert(0, {str(Path(__file__).parents[2])!r})

def outcome(work):
    "What the work returns, or the name of the status that it raises. Workers may take long to arm."
    for _ in range(3):
        try:
            return work()
        except NCryptError as error:
            name = status_name(error.status)
        if name != "KEYISO_E_SERVICE_UNAVAILABLE":
            break
    return name

def signs(key):
    key.verify(key.sign(b"data"), b"data")
    return "signs"

def tell(value):
    print(json.dumps(value), flush=True)
"""

_SERVED = """
until test -S /run/keyiso/control.sock || test ! -e /etc/keyiso-service; do usleep 50000; done
"""
"""Waits for keyiso, unless it was removed."""


@dataclass(frozen=True)
class Result:
    """What came of a command."""

    status: int | None
    """None: it took too long and was killed."""
    output: str
    """Of both streams."""


class Machine:
    """It has no power until it is started. keyiso serves the whole guest, from its boot on."""

    def __init__(
        self,
        directory: Path,
        disk: Path,
        tpm: VirtualTpm | None = None,
        *,
        megabytes: int = 512,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.disk = directory / "disk.img"
        copy_disk(disk, self.disk)
        self.tpm = tpm
        self.boot = ""
        """The kernel's id of this boot."""
        self._console = directory / "console.log"
        self._megabytes = megabytes
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    def start(self) -> None:
        """Power on; returns when keyiso serves."""
        with contextlib.ExitStack() as stack:
            ours, theirs = socket.socketpair()
            self._channel = Channel(ours)
            line = stack.enter_context(theirs)
            chip = stack.enter_context(self.tpm.power_on()) if self.tpm else None
            log = stack.enter_context(open(self._console, "ab"))
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),  # a test run that is killed leaves nothing
                    *self._command(line.fileno(), chip.fileno() if chip else None),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[end.fileno() for end in (line, chip) if end],
            )
        self._wait_for_boot()

    def reboot(self) -> None:
        """As ``reboot -f`` does it: the kernel restarts the machine, and nothing ends in order."""
        assert self._channel
        self._channel.send(_request("reboot -f", "root", COMMAND_SECONDS))
        self._wait_for_boot()

    def kill(self) -> None:
        """Power loss: for the machine and its TPM."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self.tpm is not None:
            self.tpm.power_off()

    def stop(self) -> None:
        """Shut down; what was written is on the disk."""
        if self._process is not None:
            assert self._channel
            self._channel.send(_request("poweroff -f", "root", COMMAND_SECONDS))
            self._process.wait(COMMAND_SECONDS)
        self.kill()

    def run(
        self, command: str | Sequence[str], *, user: str = "root", seconds: float = COMMAND_SECONDS
    ) -> Result:
        """Carry out a command, as somebody: a line for the shell, or a program with arguments."""
        said = self.follow(command, user=user, seconds=seconds)
        lines = []
        while True:
            try:
                lines.append(next(said))
            except StopIteration as end:
                return Result(end.value, "".join(lines))

    def follow(
        self, command: str | Sequence[str], *, user: str = "root", seconds: float = COMMAND_SECONDS
    ) -> Generator[str, None, int | None]:
        """The lines that a command prints, as they come; then its exit status."""
        assert self._channel
        self._channel.send(_request(command, user, seconds))
        # The agent ends what takes too long; it is given a while to say so.
        until = time.monotonic() + seconds + COMMAND_SECONDS
        while "status" not in (message := self._receive(until)):
            yield message["output"]
        status: int | None = message["status"]
        return status

    def output(self, command: str | Sequence[str], **options: Any) -> str:
        """What a command prints that must succeed."""
        result = self.run(command, **options)
        assert result.status == 0, f"{command}: {result}; its console: {self._last_words()}"
        return result.output

    def follow_python(self, code: str, *arguments: str, **options: Any) -> Iterator[Any]:
        """What some Python tells, bit by bit."""
        command = ["python", "-I", "-c", _PRELUDE + code, *arguments]
        return map(json.loads, self.follow(command, **options))

    def told(self, code: str, **options: Any) -> Any:
        """What some Python tells, with a few names of `_PRELUDE`; the checkout can be
        imported from."""
        return json.loads(self.output(["python", "-I", "-c", _PRELUDE + code], **options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def _command(self, line: int, chip: int | None) -> list[str]:
        tpm = (
            ()
            if chip is None
            else (
                *(
                    "-chardev",
                    f"socket,id=chip,fd={chip}",
                    "-tpmdev",
                    "emulator,id=tpm,chardev=chip",
                ),
                *("-device", "tpm-crb,tpmdev=tpm"),
            )
        )
        return [
            *(program("qemu-system-x86_64"), "-accel", _ACCELERATOR),
            *(
                "-machine",
                "q35",
                "-cpu",
                _CPU,
                "-smp",
                str(_PROCESSORS),
                "-m",
                str(self._megabytes),
            ),
            *("-nodefaults", "-no-user-config", "-display", "none", "-sandbox", "on"),
            *("-kernel", str(kernels()[-1]), "-append", " ".join(_KERNEL_OPTIONS)),
            *("-chardev", f"file,id=console,path={self._console},append=on"),
            *("-serial", "chardev:console"),
            *("-chardev", f"socket,id=line,fd={line}", "-serial", "chardev:line"),
            # What the guest was told is on the disk is in the file.
            *("-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=writethrough"),
            *("-device", "nvme,drive=disk,serial=disk"),
            *tpm,
        ]

    def _wait_for_boot(self) -> None:
        until = time.monotonic() + BOOT_SECONDS
        earlier = self.boot
        while self.boot == earlier:
            self.boot = self._receive(until).get("boot", earlier)
        self.output(_SERVED)

    def _receive(self, until: float) -> dict[str, Any]:
        assert self._channel
        try:
            return self._channel.receive(until)
        except (GuestEnded, GuestSilent) as error:
            name = type(error).__name__
            raise AssertionError(f"{name}; its console: {self._last_words()}") from error

    def _last_words(self) -> str:
        return self._console.read_bytes()[-_CONSOLE_BYTES:].decode(errors="replace")


def copy_disk(source: Path, target: Path) -> None:
    """What is all zeros takes no room."""
    subprocess.run(["cp", "--sparse=always", source, target], check=True, timeout=60)


def _request(command: str | Sequence[str], user: str, seconds: float) -> dict[str, Any]:
    words = ["sh", "-c", command] if isinstance(command, str) else list(command)
    return {"command": words, "user": user, "seconds": seconds}
