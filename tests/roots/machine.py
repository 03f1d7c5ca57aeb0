"""A machine that is enrolled by the command line, and what a test knows of it."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from keyiso.backup.files import new_file
from keyiso.clock import SystemClock
from keyiso.paths import server_instance
from keyiso.tpm.enrolment import (
    Enrolment,
    decode_enrolment,
    encode_enrolment,
    open_tpm,
    unseal_machine_roots,
)
from tests.cli.command import DEADLINE_SECONDS, KEYISO, Ended, keyiso
from tests.tpm.swtpm import Swtpm


@dataclass
class EnrolledMachine:
    """Its TPM, its directory, and commands run on it."""

    tpm: Swtpm
    directory: Path

    @property
    def address(self) -> str:
        return f"unix:{self.tpm.socket}"

    @property
    def file(self) -> Path:
        return server_instance(os.environ, system=False).vbs_enrolment

    @property
    def enrolment(self) -> Enrolment:
        return decode_enrolment(self.file.read_bytes())

    @property
    def recovery_key(self) -> Path:
        """A private recovery key, made when it is first asked for."""
        path = self.directory / "recovery"
        if not path.exists():
            self.run("recovery", "keygen", path, "--no-password")
        return path

    @property
    def public_recovery_key(self) -> Path:
        return Path(f"{self.recovery_key}.pub")

    def run(self, *arguments: str | Path) -> Ended:
        """A command that succeeds."""
        ended = keyiso(*arguments)
        assert ended.code == 0, ended.text + ended.errors
        return ended

    def enrol(self, *options: str | Path, recovery: bool = False) -> None:
        if recovery:
            options = (*options, "--recovery-key", self.public_recovery_key)
        self.run("tpm", "enroll", "--tpm", self.address, *options)

    def fails(self, *arguments: str | Path) -> str:
        """What is printed about a command that fails, and changes nothing."""
        before = self.file.read_bytes() if self.file.exists() else None
        ended = keyiso(*arguments)
        assert ended.code not in (0, 2), ended.text + ended.errors
        assert (self.file.read_bytes() if self.file.exists() else None) == before
        return ended.errors

    def replace(self, **changes: object) -> None:
        """Write another enrolment, as somebody may who can write the disk."""
        with new_file(self.file, replace=True) as file:
            file.write(encode_enrolment(msgspec.structs.replace(self.enrolment, **changes)))

    def secrets(self) -> list[bytes]:
        """The machine roots, which the TPM gives to anybody who asks it before the latch falls."""
        with open_tpm(self.address, SystemClock()) as tpm:
            return [root.secret for root in unseal_machine_roots(self.enrolment, tpm)]

    def restoring(self, *options: str) -> "Restoring":
        return Restoring(*options)

    def restore(self, *options: str) -> Ended:
        """A restore that succeeds, with the recovery key."""
        with self.restoring(*options) as waiting:
            return waiting.ends_with(self.answer_to(waiting.request))

    def answer_to(self, request: bytes, *, key: Path | None = None) -> bytes:
        """What the recovery key makes of a request."""
        ended = keyiso(
            "recovery", "answer", "-", "--yes", "--key", key or self.recovery_key, stdin=request
        )
        assert ended.code == 0, ended.errors
        return ended.output


class Restoring:
    """``keyiso recovery restore`` that has printed its request and waits for the answer."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*KEYISO, "recovery", "restore", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.request = b""
        """As it was printed."""

    def __enter__(self) -> "Restoring":
        for line in self._stdout:
            self.request += line
            if b"-----END" in line:
                return self
        _, errors = self.process.communicate()
        raise AssertionError(errors.decode())

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def _stdout(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def ends_with(self, answer: bytes, code: int = 0) -> Ended:
        """Give it an answer, and see how it ends."""
        output, errors = self.process.communicate(answer, DEADLINE_SECONDS)
        assert self.process.returncode == code, output.decode() + errors.decode()
        return Ended(code, output, errors.decode())
