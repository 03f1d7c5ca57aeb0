"""What goes in and out of an enrolling pair. None of it is secret.

A frame is its length (u32, little-endian) and a msgpack array. First comes one job; the answer is
`Enrolled` or `Failed`, or before that `Asked`, for which an `Answer` is awaited.
"""

import os
import struct
from typing import Final, TypeVar

import msgspec

from keyiso import limits
from keyiso.tpm.enrolment import UnsealMode
from keyiso.tpm.latch import LATCH_PCR

T = TypeVar("T")

_LENGTH: Final = struct.Struct("<I")
_FRAME_BYTES: Final = limits.ENROLMENT_BYTES + limits.RECOVERY_TEXT_BYTES
"""The longest is an enrolment with a few fields around it."""


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """One frame."""


class Enrol(_Message, frozen=True, array_like=True, tag=1):
    """Make a machine root."""

    tpm: str
    unseal: UnsealMode
    pcrs: tuple[int, ...] = (LATCH_PCR,)
    """What it is sealed to; `LATCH_PCR` is among them."""
    recovery_key: bytes = b""
    """A public key, 32 bytes; empty for no recovery copy. The same below."""


class Rotate(_Message, frozen=True, array_like=True, tag=2):
    """Put a new root in front of those that there are."""

    enrolment: bytes
    recovery_key: bytes = b""
    unseal: UnsealMode | None = None
    """From now on; None for as it was."""


class AddRecovery(_Message, frozen=True, array_like=True, tag=3):
    """Make recovery copies of all roots, in place of those that there are."""

    enrolment: bytes
    recovery_key: bytes


class Restore(_Message, frozen=True, array_like=True, tag=4):
    """Have the roots opened by the recovery key, seal them to a TPM, and put a new one in front."""

    enrolment: bytes
    tpm: str
    pcrs: tuple[int, ...] = (LATCH_PCR,)


Job = Enrol | Rotate | AddRecovery | Restore


class Enrolled(_Message, frozen=True, array_like=True, tag=1):
    """The job is done, and this is to be stored."""

    enrolment: bytes


class Asked(_Message, frozen=True, array_like=True, tag=2):
    """The armed worker asks for its roots (`keyiso.crypto.recovery`)."""

    request: bytes


class Failed(_Message, frozen=True, array_like=True, tag=3):
    """Why the job was not done."""

    status: int
    cause: str
    action: str


Outcome = Enrolled | Asked | Failed


class Answer(_Message, frozen=True, array_like=True):
    """What the recovery key made of what was asked."""

    answer: bytes


JOBS: Final[msgspec.msgpack.Decoder[Job]] = msgspec.msgpack.Decoder(Job)
OUTCOMES: Final[msgspec.msgpack.Decoder[Outcome]] = msgspec.msgpack.Decoder(Outcome)
ANSWERS: Final = msgspec.msgpack.Decoder(Answer)


def send(descriptor: int, message: Job | Outcome | Answer) -> None:
    """Write a frame."""
    data = msgspec.msgpack.encode(message)
    left = memoryview(_LENGTH.pack(len(data)) + data)
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """Read a frame.

    Raises `EOFError` when the other side has gone, ``msgspec.DecodeError`` for what is no message.
    """
    (length,) = _LENGTH.unpack(_exactly(descriptor, _LENGTH.size))
    if length > _FRAME_BYTES:
        raise msgspec.DecodeError(f"the frame has {length} bytes")
    try:
        return decoder.decode(_exactly(descriptor, length))
    except (UnicodeDecodeError, RecursionError):
        raise msgspec.DecodeError("the frame is not UTF-8, or nested too deep") from None


def _exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(descriptor, size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
