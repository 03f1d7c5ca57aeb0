"""A process that is attacked: started, given keys, kept signing, ended."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.signatures import NO_PADDING, Padding
from keyiso.wire.channel import Encipher, Ping, Sign, Signature
from keyiso.wire.key_terms import KeyGrant, KeyTerms
from keyiso.wire.link import (
    AddChannel,
    GetWorkerImportKey,
    GetWorkerStatus,
    Import,
    Load,
    RenewLease,
    Sealed,
)
from keyiso.wire.messages import Call, Return, result_of
from keyiso.wire.results import Opened, WorkerImportKey
from tests.attack.demonstration import LINK, root_secret
from tests.attack.planted import pkcs8, plant
from tests.attack.target import SECONDS, Kind, Target
from tests.conformance.raw_client import Ended, RawClient, message

Algorithm = Literal["RSA-2048", "P-256"]

PROGRAM = Path(__file__).with_name("demonstration.py")
WORD = "demonstration"
CHANNEL = b"c" * 16

PKCS1 = Padding(2, "SHA256")
DIGEST = b"d" * 32


class Client(RawClient):
    """One that also sends a descriptor."""

    def call_with(self, operation: Any, descriptor: int) -> Any:
        self._calls += 1
        frame = message(Call(self._calls, operation))
        socket.send_fds(self.socket, [frame], [descriptor])
        answer = self.receive()
        return result_of(operation, answer) if isinstance(answer, Return) else answer

    def call_many(self, operations: Sequence[Any]) -> None:
        """Ask for all of them at once, and wait until all are done."""
        first = self._calls + 1
        self._calls += len(operations)
        self.send(b"".join(message(Call(first + i, one)) for i, one in enumerate(operations)))
        for _ in operations:
            answer = self.receive()
            assert isinstance(answer, Return), answer


class Subject(Target):
    """A demonstration worker, armed with its guardian or bare, that holds the planted keys."""

    def __init__(self, kind: Kind, directory: Path, *, heap: int = 8) -> None:
        self.kind = kind
        self.directory = directory  # in which it also runs
        self.planted = plant(root_secret(WORD), os.urandom(32))
        self.findings: list[str] = []
        """What an armed worker said of its shields."""
        self._process = _start(kind, directory, heap)
        try:
            self._hear_findings()
            self.link, self.channel = self._connect(directory)
        except BaseException:
            self.end()
            raise
        self.worker: int = self.link.call(GetWorkerStatus()).pid
        self.guardian = self._process.pid if kind == "armed" else 0
        self._plant()

    def sealed(self, value: bytes, algorithm: str = "") -> bytes:
        """Import a key, sealed as a client seals it: its blob."""
        terms = KeyTerms(
            operation_id=os.urandom(16),
            provider="demonstration",
            scope="user",
            owner=os.geteuid(),
            name=b"",
            lifetime="ephemeral",
            algorithm=algorithm,
            bits=0,
            usage=0xFFFFFF,
            export_policy=0,
            overwrite=False,
            level="vbs",
        )
        worker_key = self.link.call(GetWorkerImportKey())
        assert isinstance(worker_key, WorkerImportKey), worker_key
        sealed = seal_import(value, worker_key.public_key, terms)
        made = self.link.call(Import(terms, KeyGrant((), 1, b""), sealed))
        assert isinstance(made, Sealed), made
        return made.blob

    def load_sealed(self, blob: bytes) -> int:
        """Load a key: its slot."""
        opened = self.link.call(Load(CHANNEL, os.geteuid(), blob))
        assert isinstance(opened, Opened), opened
        return opened.slot

    def load(self, value: bytes, algorithm: str = "") -> int:
        """Import and load a key: its slot."""
        return self.load_sealed(self.sealed(value, algorithm))

    def use_keys(self) -> None:
        with contextlib.suppress(OSError, Ended):  # an attack may have ended the link
            self.link.call(RenewLease())
        for operation in (
            Sign(self._rsa_slot, DIGEST, PKCS1),
            Sign(self._ec_slot, DIGEST, NO_PADDING),
        ):
            assert isinstance(self.channel.call(operation), Signature)
        self.channel.call(
            Encipher(self._aes_slot, b"m", CipherParameters("ChainingModeGCM", b"n" * 12))
        )

    def sign(self, algorithm: Algorithm, count: int, in_flight: int) -> None:
        """So many signatures, a number of them asked for at a time."""
        slot, padding = (
            (self._rsa_slot, PKCS1) if algorithm == "RSA-2048" else (self._ec_slot, NO_PADDING)
        )
        for _ in range(count // in_flight):
            self.channel.call_many([Sign(slot, DIGEST, padding)] * in_flight)

    def be_patient(self, seconds: float) -> None:
        self.channel.socket.settimeout(seconds)

    def exit_status(self) -> int:
        """Of the process that was started: the guardian, or a bare worker. Waits for its end."""
        return self._process.wait(SECONDS)

    def wait_for_end(self) -> None:
        self.exit_status()  # it is a child, and somebody has to take notice
        super().wait_for_end()

    def end(self) -> None:
        """Kill whatever is left of it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.communicate(timeout=SECONDS)
        for client in ("link", "channel"):
            if hasattr(self, client):
                getattr(self, client).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def _hear_findings(self) -> None:
        """It prints what it is, up to an empty line, when it is ready."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline().strip():
            self.findings.append(line)
        assert self.findings, "the demonstration did not start"

    def _connect(self, directory: Path) -> tuple[Client, Client]:
        connected = socket.socket(socket.AF_UNIX)
        connected.connect(str(directory / "link"))
        link = Client(connected, GetWorkerStatus())
        link.hello()
        link.call(RenewLease())
        ours, theirs = socket.socketpair()
        with theirs:
            link.call_with(AddChannel(CHANNEL, os.geteuid()), theirs.fileno())
        channel = Client(ours, Ping())
        channel.hello()
        return link, channel

    def _plant(self) -> None:
        self._rsa_slot = self.load(pkcs8(self.planted.rsa_key))
        self._ec_slot = self.load(pkcs8(self.planted.ec_key))
        self._aes_slot = self.load(self.planted.aes_key, "AES")
        self.use_keys()


def _start(kind: Kind, directory: Path, heap: int) -> subprocess.Popen[str]:
    """Start it in a directory of its own, where a core would be found."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "link"))
        listening.listen()
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                str(PROGRAM),
                "guard" if kind == "armed" else kind,
                f"--word={WORD}",
                f"--heap={heap}",
            ],
            cwd=directory,
            env={**os.environ, **_careless(kind)},
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(LINK,),
            preexec_fn=lambda: _prepare(listening.fileno()),
        )


def _careless(kind: Kind) -> dict[str, str]:
    """What an application does that is given its secret in the environment."""
    return {"DEMONSTRATION_ROOT": root_secret(WORD).hex()} if kind == "bare" else {}


def _prepare(listening: int) -> None:
    """In the child: its socket where it expects it, and leave to write a core."""
    os.dup2(listening, LINK, inheritable=True)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
