"""Where a command has PINs from: a person who is asked, or standard input. Never an argument."""

import os
from typing import Final, Protocol

import click

from keyiso import limits
from keyiso.config.pin_rules import read_pin_rules
from keyiso.crypto.pin import Pin, wipe
from keyiso.passport.dialogue import PinQuestion
from keyiso.passport.prompt import pin_prompt
from keyiso.paths import client_instance

_STDIN: Final = 0

pin_stdin_option = click.option(
    "--pin-stdin",
    is_flag=True,
    help="Take each PIN from a line of standard input, instead of asking for it.",
)


class Pins(Protocol):
    """Gives PINs, which the caller wipes."""

    is_person: bool
    """Somebody can be asked again."""

    def present(self, question: PinQuestion) -> Pin:
        """The PIN that there is."""

    def new(self, question: PinQuestion) -> Pin:
        """A PIN that is to be set."""


class _Asked:
    is_person = True

    def __init__(self) -> None:
        self._prompt: Final = pin_prompt(os.environ)

    def present(self, question: PinQuestion) -> Pin:
        return self._prompt.ask(question)

    def new(self, question: PinQuestion) -> Pin:
        rules = read_pin_rules(client_instance(os.environ).config)
        return self._prompt.ask_new(question, rules.policy)


class _FromLines:
    """In the order in which the command would ask; a new PIN is there once."""

    is_person = False

    def present(self, question: PinQuestion) -> Pin:
        return _line(_STDIN)

    def new(self, question: PinQuestion) -> Pin:
        return _line(_STDIN)


def pins(*, stdin: bool) -> Pins:
    """Those of standard input, or a person's."""
    return _FromLines() if stdin else _Asked()


def _line(descriptor: int) -> Pin:
    """Byte by byte, into memory that is wiped: a buffer would keep it, and the next line.

    Raises ``NTE_INVALID_PARAMETER`` for what is no PIN.
    """
    typed = bytearray(limits.PIN_CHARACTERS + 1)  # one too many, which is refused
    length = 0
    try:
        with memoryview(typed) as whole:
            while length < len(typed) and os.readv(descriptor, [whole[length : length + 1]]):
                if whole[length] == ord("\n"):
                    break
                length += 1
        return Pin(typed[:length])
    finally:
        wipe(typed)
