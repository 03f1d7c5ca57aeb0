"""One attack, to be seen: a private key is looked for in the memory of processes.

It is read by /proc/PID/mem (proc(5)). The attack suite has this one and many others
(docs/isolation.md).
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keyiso.trustlet.arming.mappings import regions_of

_SECONDS: Final = 30.0
_PIECE_BYTES: Final = 1 << 20
_FORM_BYTES: Final = 32

_PROGRAM: Final = """\
import sys
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

key = load_der_private_key(sys.stdin.buffer.read(int(sys.argv[1])), None)
key.sign(b"letter", ECDSA(SHA256()))
print("signed", flush=True)
sys.stdin.buffer.read()
"""
"""What programs do today: the key is in their memory, and they sign."""


@dataclass(frozen=True, slots=True)
class Loot:
    """What the attack gave."""

    read: int
    """Bytes of memory."""
    found: bool
    """The private key was among them."""
    refusal: str
    """Why a process could not be read at all; empty where all could."""


class StolenKey:
    """A P-256 key that is known here, so that it can be looked for elsewhere."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def pkcs8(self) -> bytes:
        return self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    @property
    def _forms(self) -> tuple[bytes, bytes]:
        """As files have it, and as the library computes with it."""
        number = self._key.private_numbers().private_value
        return number.to_bytes(_FORM_BYTES, "big"), number.to_bytes(_FORM_BYTES, "little")

    def look_for(self, pids: Iterable[int]) -> Loot:
        """Read all memory of some processes, as far as the kernel gives it out."""
        read, found, refusal = 0, False, ""
        for pid in pids:
            try:
                for piece in _memory_of(pid):
                    read += len(piece)
                    found = found or any(form in piece for form in self._forms)
            except OSError as error:
                refusal = error.strerror or str(error)
        return Loot(read, found, refusal)

    @contextlib.contextmanager
    def in_a_plain_process(self) -> Iterator[int]:
        """A process of its own that has the key in its memory, and signs; its pid."""
        pkcs8 = self.pkcs8
        with subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(len(pkcs8))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            try:
                yield _when_it_has_signed(process, pkcs8)
            finally:
                process.kill()


def _when_it_has_signed(process: subprocess.Popen[bytes], pkcs8: bytes) -> int:
    assert process.stdin is not None and process.stdout is not None  # noqa: S101 (they are)
    process.stdin.write(pkcs8)
    process.stdin.flush()
    process.stdout.readline()
    return process.pid


def _memory_of(pid: int) -> Iterator[bytes]:
    """Whatever can be read, in pieces that overlap by what is looked for."""
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for region in regions_of(pid):
            for start in range(region.start, region.end, _PIECE_BYTES):
                size = min(_PIECE_BYTES + _FORM_BYTES, region.end - start)
                with contextlib.suppress(OSError, OverflowError):  # secret, or the kernel's own
                    yield os.pread(memory, size, start)
    finally:
        os.close(memory)


def words_of(loot: Loot) -> Sequence[str]:
    """For a table: how much was read, and what was in it."""
    if not loot.read and loot.refusal:
        return (f"nothing ({loot.refusal})", "-")
    return (f"{loot.read / (1 << 20):.1f} MiB", "FOUND" if loot.found else "not found")
