"""A key storage provider in Python's manner."""

from collections.abc import Iterator
from typing import Any, Final

from keyiso import flags as f
from keyiso import identifiers as names
from keyiso import ncrypt
from keyiso.closeable import Closeable
from keyiso.errors import NCryptError
from keyiso.status import Status

DEFAULT_PROVIDER: Final = names.MS_KEY_STORAGE_PROVIDER


class Provider(Closeable):
    """An open key storage provider. Without a name, the software provider."""

    def __init__(self, name: str = DEFAULT_PROVIDER) -> None:
        self._handle = ncrypt.NCryptOpenStorageProvider(name)
        self.name = name

    @property
    def handle(self) -> ncrypt.NCryptProvHandle:
        """For `keyiso.ncrypt`."""
        return self._handle

    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that keys can have here."""
        return tuple(known.pszName for known in ncrypt.NCryptEnumAlgorithms(self._handle))

    def keys(self, *, machine: bool = False) -> Iterator[ncrypt.NCryptKeyName]:
        """Names and algorithms of the keys of this user, or of the machine."""
        state = None
        while True:
            try:
                found, state = ncrypt.NCryptEnumKeys(self._handle, None, state, scope_flag(machine))
            except NCryptError as error:
                if error.status == Status.NTE_NO_MORE_ITEMS:
                    return
                raise
            yield found

    def watch(self, *, machine: bool = False) -> Any:
        """An event for changes of the keys of this user, or of the machine.

        It has ``wait(timeout)``, ``fileno()`` and ``close()``, and is a context manager.
        """
        flags = f.NCRYPT_REGISTER_NOTIFY_FLAG | scope_flag(machine)
        return ncrypt.NCryptNotifyChangeKey(self._handle, None, flags)

    def close(self) -> None:
        ncrypt.NCryptFreeObject(self._handle)


def scope_flag(machine: bool) -> int:
    """The flag for keys of the machine, or none for the caller's own."""
    return f.NCRYPT_MACHINE_KEY_FLAG if machine else 0
