"""What is said to a person who is asked for a PIN, and what every way of asking has in common."""

import unicodedata
from dataclasses import dataclass
from typing import Final, Protocol

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

_HIDDEN: Final = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])
"""Categories of characters that move the cursor, turn the text round, or show nothing."""


@dataclass(frozen=True, kw_only=True)
class PinQuestion:
    """The texts may come from others, as a key's friendly name does: what is shown of them cannot
    command a terminal.
    """

    description: str
    """What the PIN is for, in a line or a few."""
    prompt: str = "PIN"
    trouble: str = ""
    """What was wrong with the last one: `wrong_pin`."""


class PinSource(Protocol):
    """A way of asking."""

    def read(self, question: PinQuestion, timeout: float) -> bytearray:
        """What was typed, which the caller wipes.

        Raises `CannotAskError` where nobody can be asked in this way, ``NTE_USER_CANCELLED`` and
        ``ERROR_TIMEOUT`` after so many seconds.
        """


class CannotAskError(Exception):
    """Nobody was asked, for this reason; another way may do."""


def wrong_pin(attempts_left: int) -> str:
    """What to say about a wrong PIN, before asking again."""
    if attempts_left < 1:
        return "The PIN is wrong."
    if attempts_left == 1:
        return "The PIN is wrong. After one more wrong one it is locked for a while."
    return f"The PIN is wrong. After {attempts_left} more wrong ones it is locked for a while."


def shown(text: str) -> str:
    """As one line, without characters that do anything else than show, and not too long."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in _HIDDEN else one
        for one in text[: limits.PROMPT_CHARACTERS]
    )


def shown_lines(text: str) -> str:
    """The same, and lines stay lines."""
    lines = text[: limits.PROMPT_CHARACTERS].splitlines()
    return "\n".join(map(shown, lines[: limits.PROMPT_LINES]))


def cancelled() -> NCryptError:
    return ncrypt_error(Status.NTE_USER_CANCELLED, "no PIN was entered", "Nothing was changed.")


def timed_out(seconds: float) -> NCryptError:
    return ncrypt_error(
        Status.ERROR_TIMEOUT, f"no PIN was entered within {seconds:g} seconds", "Start again."
    )
