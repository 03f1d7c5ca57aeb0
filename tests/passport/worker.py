"""A process that makes attempts for a test, and can be killed at any step of one.

It reads a `Job` a line, has a child of its own do it, and prints how that ended. A step is what
leaves the child: a file that is opened, synced or renamed, and a command to the TPM, each before it
happens and, for the TPM, also after it. The child kills itself there with SIGKILL.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import Root
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_cost import PinCost
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.errors import NCryptError
from keyiso.status import status_name
from keyiso.tpm.srk import enrol_srk
from keyiso.tpm.tpm import Tpm
from keyiso.tpm.transport import connect
from keyiso.trustlet.passport.container import Container
from keyiso.trustlet.passport.container_record import container_files
from keyiso.trustlet.passport.tpm_place import TpmPlace

ROOT = Root(b"r" * 16, "machine", b"the root of the trustlet        ")
CONTAINER_ID = b"c" * 16
CHEAP = PinCost(8, 1, 1)


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is to do."""

    directory: str
    tpm: str = ""
    """swtpm's socket; empty for none."""
    attempt_id: bytes
    pin: str
    enrols: bool = False
    """Enrol the PIN."""
    new_pin: str = ""
    """Change the PIN to it; empty to verify."""
    answer: bytes = b""
    """Set the PIN with this answer to a request for a reset."""
    kill_at: int = -1
    """The step, from 0."""


class Reconnecting:
    """A connection for each command: swtpm serves one at a time, and several processes ask."""

    def __init__(self, path: Path, step: Callable[[], None]) -> None:
        self._path = path
        self._step = step

    def exchange(self, command: bytes) -> bytes:
        self._step()
        with connect(self._path) as transport:
            answer = transport.exchange(command)
        self._step()
        return answer


def opened_container(
    directory: Path, tpm: Path | None, step: Callable[[], None] = lambda: None
) -> Container:
    """The container of a test."""
    place = None
    if tpm is not None:
        client = Tpm(Reconnecting(tpm, step), SystemClock())
        place = TpmPlace(client, enrol_srk(Tpm(Reconnecting(tpm, lambda: None), SystemClock())))
    files = container_files(directory, [ROOT], CONTAINER_ID)
    return Container(CONTAINER_ID, files, place, SystemClock(), software_cost=CHEAP)


def do(job: Job) -> str:
    """How the job ended: ``right`` or a status."""
    steps = 0

    def step() -> None:
        nonlocal steps
        if steps == job.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

    container = opened_container(Path(job.directory), Path(job.tpm) if job.tpm else None, step)
    for name in ("open", "fsync", "replace"):
        _watch(name, step)
    try:
        if job.enrols:
            container.enrol(1000, _pin(job.pin), PinPolicy(history=3), LockSchedule(30, (60,)))
        elif job.answer:
            container.unlock(job.attempt_id, _pin(job.pin), job.answer)
        elif job.new_pin:
            container.change(job.attempt_id, _pin(job.pin), _pin(job.new_pin))
        else:
            container.verify(job.attempt_id, _pin(job.pin))
    except NCryptError as error:
        return status_name(error.status)
    return "right"


def _watch(name: str, step: Callable[[], None]) -> None:
    original = getattr(os, name)

    def watched(*arguments: Any, **options: Any) -> Any:
        step()
        return original(*arguments, **options)

    setattr(os, name, watched)


def _pin(text: str) -> Pin:
    return Pin(bytearray(text, "ascii"))


def main() -> None:
    for line in sys.stdin.buffer:
        job = msgspec.json.decode(line, type=Job)
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            os.write(write_end, do(job).encode())
            os._exit(0)
        os.close(write_end)
        said = os.read(read_end, 200).decode()
        os.close(read_end)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else said or "failed", flush=True)


if __name__ == "__main__":
    main()
