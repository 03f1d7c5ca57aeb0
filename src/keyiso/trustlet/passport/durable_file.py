"""Values in files, which have the old value or the new one, whatever ends the process."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.trustlet.passport.sealed_value import SealedValue

T = TypeVar("T")


class DurableFile(Generic[T]):
    """A value that is replaced whole."""

    def __init__(self, path: Path, value: SealedValue[T]) -> None:
        self._path = path
        self._value = value

    def read(self) -> T | None:
        """The value, or None when there is no file."""
        try:
            with self._path.open("rb") as file:
                data = file.read(limits.PASSPORT_RECORD_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failed(self._path, error) from error
        return self._value.decode(data)

    def write(self, value: T) -> None:
        """Durable when this returns. Raises ``KEYISO_E_STORE``, and the old value stands."""
        data = self._value.encode(value)
        new = self._path.with_suffix(".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            new.replace(self._path)
            _sync(self._path.parent)
        except OSError as error:
            raise _failed(self._path, error) from error


def make_directory(path: Path) -> None:
    """Make a directory, and the one around it, which only this user may enter. They are durable
    when this returns. Raises ``KEYISO_E_STORE``."""
    try:
        for one in (path.parent, path):
            one.mkdir(mode=0o700, exist_ok=True)
            _sync(one.parent)
    except OSError as error:
        raise _failed(path, error) from error


@contextlib.contextmanager
def exclusively(directory: Path) -> Iterator[None]:
    """Nobody else is in such a block for this directory, of any process.

    Raises ``KEYISO_E_STORE`` for a directory that is not there.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _failed(directory, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: Path, error: OSError) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_STORE,
        f"{path} cannot be used: {error.strerror}",
        "Mend that and try again.",
    )
