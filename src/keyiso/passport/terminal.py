"""Asking on the terminal: what is typed is not shown, and is in one buffer that is wiped."""

import os
import select
import termios
from typing import Final

from keyiso import limits
from keyiso.crypto.pin import wipe
from keyiso.passport.dialogue import (
    CannotAskError,
    PinQuestion,
    cancelled,
    shown,
    shown_lines,
    timed_out,
)
from keyiso.passport.terminal_state import no_echo

CONTROLLING_TERMINAL: Final = "/dev/tty"
_LINE_BYTES: Final = limits.PIN_CHARACTERS + 2
"""One too many, which is refused later, and the end of the line."""


class Terminal:
    """The terminal that a person sits at, wherever standard input and output go."""

    def __init__(self, path: str = CONTROLLING_TERMINAL) -> None:
        self._path: Final = path

    def read(self, question: PinQuestion, timeout: float) -> bytearray:
        """As `PinSource.read`. The end of input (^D) cancels; ^C does what it does elsewhere."""
        try:
            terminal = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise CannotAskError(f"there is no terminal ({error.strerror})") from None
        try:
            return _asked(terminal, question, timeout)
        except (OSError, termios.error) as error:
            raise CannotAskError(f"the terminal does not work ({error})") from None
        finally:
            os.close(terminal)


def _asked(terminal: int, question: PinQuestion, timeout: float) -> bytearray:
    def show() -> None:
        texts = (shown_lines(question.trouble), shown_lines(question.description))
        text = "\n".join([*filter(None, texts), f"{shown(question.prompt)}: "])
        os.write(terminal, text.encode(errors="replace"))

    typed = bytearray(_LINE_BYTES)
    try:
        with no_echo(terminal, again=show):
            show()
            length = _read_line(terminal, typed, timeout)
        end = typed.find(b"\n", 0, length)
        return typed[: length if end < 0 else end]
    finally:
        wipe(typed)


def _read_line(terminal: int, typed: bytearray, timeout: float) -> int:
    """Read a line, or as much as there is room for; the rest of it is dropped with the block."""
    ready = select.poll()
    ready.register(terminal, select.POLLIN)
    length = os.readv(terminal, [typed]) if ready.poll(timeout * 1000) else None
    if not length:
        os.write(terminal, b"\n")
        raise timed_out(timeout) if length is None else cancelled()
    return length
