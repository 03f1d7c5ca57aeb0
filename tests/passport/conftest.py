"""A container of a test's own, kept by a TPM or by a file, and processes that ask it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import enrol_pin
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.trustlet.passport.container import Container
from tests.child import child
from tests.instance import RunningInstance
from tests.passport.worker import Job, opened_container
from tests.tpm import swtpm as software_tpm
from tests.tpm.swtpm import Swtpm

RIGHT, WRONG, NEW = "482915", "573926", "684037"
SCHEDULE = LockSchedule(30, (60,))
POLICY = PinPolicy(history=3)
PROJECT = Path(__file__).parents[2]


def pin(text: str) -> Pin:
    return Pin(bytearray(text, "ascii"))


@pytest.fixture
def binding(instance: RunningInstance) -> Binding:
    """Of a user who has a container."""
    made = bind_process(os.environ, service="passport")
    enrol_pin(made, pin(RIGHT))
    return made


@pytest.fixture
def keyiso(instance: RunningInstance) -> Binding:
    """The KeyIso service itself, without the two before it."""
    return bind_process(os.environ)


class Worker:
    """A process that does one job after the other."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def begin(self, job: Job) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()


@dataclass
class Setting:
    """A container, enrolled, and what is around it."""

    directory: Path
    swtpm: Swtpm | None
    secret: ContainerSecret
    stack: ExitStack

    @property
    def container(self) -> Container:
        return opened_container(self.directory, self.swtpm.socket if self.swtpm else None)

    def job(self, attempt_id: bytes, text: str, kill_at: int = -1, new_pin: str = "") -> Job:
        return Job(
            directory=str(self.directory),
            tpm=str(self.swtpm.socket) if self.swtpm else "",
            attempt_id=attempt_id,
            pin=text,
            new_pin=new_pin,
            kill_at=kill_at,
        )

    def worker(self) -> Worker:
        process = self.stack.enter_context(
            child(
                [sys.executable, "-m", "tests.passport.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=PROJECT,
            )
        )
        self.stack.callback(process.stdin.close)
        return Worker(process)

    def clear_up(self) -> None:
        """What the kernel's resource manager does when a process ends that used the TPM."""
        if self.swtpm is not None:
            self.swtpm.flush_all()


@pytest.fixture(params=["tpm", "software"])
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setting]:
    yield from _setting(request.param, tmp_path)


@pytest.fixture
def with_tpm(tmp_path: Path) -> Iterator[Setting]:
    yield from _setting("tpm", tmp_path)


@pytest.fixture
def with_software(tmp_path: Path) -> Iterator[Setting]:
    yield from _setting("software", tmp_path)


def _setting(kind: str, tmp_path: Path) -> Iterator[Setting]:
    swtpm = None
    directory = tmp_path / "container"
    directory.mkdir()
    with ExitStack() as stack:
        if kind == "tpm":
            if software_tpm.missing:
                pytest.skip(software_tpm.SKIP_REASON)
            swtpm = Swtpm(tmp_path)
            stack.callback(swtpm.power_off)
            swtpm.boot()
        container = opened_container(directory, swtpm.socket if swtpm else None)
        secret = container.enrol(1000, pin(RIGHT), POLICY, SCHEDULE)
        yield Setting(directory, swtpm, secret, stack)
