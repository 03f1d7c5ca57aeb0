"""The files that a worker's memory is moved onto."""

import contextlib
import errno
import fcntl
import os
from dataclasses import dataclass
from typing import Final, Self

from keyiso.trustlet.arming.kernel import cannot_arm, system_call

_MFD_NOEXEC_SEAL: Final = 0x8
"""Nobody executes the file itself. Mapping it executable is something else, and allowed."""

_ALL_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@dataclass(frozen=True, slots=True)
class Backing:
    """Three files in memory, made by the guardian and inherited by the worker under the same
    numbers.
    """

    secret: int
    """What is writable ends here: pages that the kernel takes out of its own map of memory."""
    sealed: int
    """What is not writable ends here; the worker's descriptor cannot write it."""
    staged: int
    """Where the content of writable memory waits for the move. It holds no secret: none is in the
    worker yet."""
    _writable: int
    """The guardian's own descriptor of the sealed file."""

    @classmethod
    def create(cls) -> Self:
        """Make the files. Raises `VbsUnavailableError` where there is no secret memory."""
        secret = secret_memory()
        writable = _memory_file("keyiso-sealed")
        # Opened for reading, it is mapped without the right to ever become writable (VM_MAYWRITE).
        sealed = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY)
        staged = _memory_file("keyiso-staged")
        for descriptor in (secret, sealed, staged):
            os.set_inheritable(descriptor, True)
        return cls(secret, sealed, staged, writable)

    @property
    def inherited(self) -> tuple[int, int, int]:
        """What the worker has open until its memory has moved."""
        return self.secret, self.sealed, self.staged

    def put_sealed(self, data: bytes, offset: int) -> None:
        """Write into the file that will be sealed."""
        _put(self._writable, data, offset)

    def seal(self) -> None:
        """Nobody changes the sealed file again (F_ADD_SEALS), whatever descriptor they have."""
        fcntl.fcntl(self._writable, fcntl.F_ADD_SEALS, _ALL_SEALS)

    def put_staged(self, data: bytes, offset: int) -> None:
        """Write into the staging file."""
        _put(self.staged, data, offset)

    def resize(self, secret_bytes: int) -> None:
        """Give the secret memory its size, once; what is staged is as long."""
        os.ftruncate(self.secret, secret_bytes)
        os.ftruncate(self.staged, secret_bytes)

    def close(self) -> None:
        """Let go of all of them."""
        for descriptor in (*self.inherited, self._writable):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def secret_memory() -> int:
    """A descriptor of new secret memory (memfd_secret(2), Linux 5.14).

    Raises `VbsUnavailableError` where the kernel has none.
    """
    try:
        return system_call("memfd_secret", os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise cannot_arm(
            "this kernel gives out no secret memory",
            "Boot Linux 5.14 or later, and with secretmem.enable=1 before 6.5.",
        ) from None


def _memory_file(name: str) -> int:
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)  # before Linux 6.3


def _put(descriptor: int, data: bytes, offset: int) -> None:
    """Write it, unless it is zeros: the file is full of them."""
    if data.count(0) != len(data):
        os.pwrite(descriptor, data, offset)
