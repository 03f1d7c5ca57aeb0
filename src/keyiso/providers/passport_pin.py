"""The PIN that was set on a handle of the Passport provider: for one use, and never read back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from keyiso.crypto.pin import Pin, wipe
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

_ANSWERED = frozenset({Status.NTE_INCORRECT_PASSWORD, Status.NTE_PASSWORD_CHANGE_REQUIRED})
"""What says that trying the same PIN again is of no use."""

Attempt = tuple[Pin, bytes]
"""A PIN that was set once, and its attempt id: as often as it is tried, it is counted once."""


class HeldPin:
    """A place for a PIN. Thread-safe: what uses the PIN has it for itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._attempt: Attempt | None = None

    def hold(self, pin: Pin, attempt_id: bytes) -> None:
        """Take a PIN over; one that was there before is wiped."""
        with self._lock:
            self._wipe()
            self._attempt = pin, attempt_id

    def wipe(self) -> None:
        """Hold none any more."""
        with self._lock:
            self._wipe()

    @contextmanager
    def use(self) -> Iterator[Attempt | None]:
        """The PIN, if there is one.

        It is wiped after the block, unless that raises for another reason than the PIN: then
        nothing was done with it, and the next use goes on with the same attempt.
        """
        with self._lock:
            try:
                yield self._attempt
            except NCryptError as error:
                if error.status in _ANSWERED:
                    self._wipe()
                raise
            else:
                self._wipe()

    def _wipe(self) -> None:
        if self._attempt is not None:
            self._attempt[0].wipe()
            self._attempt = None


def pin_of(value: bytes) -> Pin:
    """The PIN of a property's value, which is UTF-16-LE with its NUL or without.

    Raises ``NTE_INVALID_PARAMETER`` for what is no PIN. The value itself is the caller's.
    """
    whole = bytearray(value)
    characters, high = whole[0::2], whole[1::2]
    wipe(whole)
    is_ascii = len(characters) == len(high) and not any(high)
    wipe(high)
    if not is_ascii:
        wipe(characters)
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, "the PIN is not in UTF-16, or not in ASCII's characters"
        )
    if characters[-1:] == b"\0":
        characters.pop()
    return Pin(characters)
