"""A PIN: in memory that is wiped, never in a string, never printed.

A PIN consists of printable ASCII characters other than the space: digits, lower case, upper case
and special characters, as Windows Hello counts them. Such a text has one form in every encoding and
under every Unicode normalisation, so that two keyboards cannot write it differently, and nothing is
folded: case counts. Anything else is refused before an attempt is counted.
"""

from typing import Final, NoReturn, Self

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

CHARACTERS: Final = range(0x21, 0x7F)


class Pin:
    """The bytes of a PIN, until the block ends that uses it.

    What libraries copy of it on their way is theirs, and freed.
    """

    __slots__ = ("_characters",)

    def __init__(self, characters: bytearray) -> None:
        """Takes the characters over: they are wiped with the PIN, or at once if they are none.

        Raises ``NTE_INVALID_PARAMETER`` for what is no PIN under any policy.
        """
        self._characters = characters
        try:
            _check(characters)
        except BaseException:
            self.wipe()
            raise

    @property
    def characters(self) -> bytearray:
        """Not a copy. Empty after `wipe`."""
        return self._characters

    def wipe(self) -> None:
        """Overwrite the characters, and forget how many there were."""
        wipe(self._characters)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return "<Pin>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PIN is not copied")


def wipe(secret: bytearray) -> None:
    """Overwrite bytes, and leave none."""
    secret[:] = bytes(len(secret))
    secret.clear()


def _check(characters: bytearray) -> None:
    if len(characters) < limits.SHORTEST_PIN_CHARACTERS:
        raise _no_pin("is too short")
    if len(characters) > limits.PIN_CHARACTERS:
        raise _no_pin("is too long")
    if any(one not in CHARACTERS for one in characters):
        raise _no_pin("has a character that no PIN has")


def _no_pin(why: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER,
        f"the PIN {why}",
        f"A PIN has {limits.SHORTEST_PIN_CHARACTERS} to {limits.PIN_CHARACTERS} digits, letters"
        " from A to Z and special characters of an English keyboard.",
    )
