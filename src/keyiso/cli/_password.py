"""Passwords of files: from a file's first line or from the terminal, never from an argument."""

import sys
from typing import BinaryIO, Final

import click

from keyiso import limits

_LINE_BYTES: Final = limits.PASSWORD_BYTES + 3
"""One byte too many, which is refused later, and the end of a line."""


def password_in(file: BinaryIO | None) -> bytes | None:
    """The first line of a password file."""
    if file is None:
        return None
    password = file.readline(_LINE_BYTES).rstrip(b"\r\n")
    if not password:
        raise click.UsageError("The password file begins with an empty line.")
    return password


def asked_password(prompt: str, otherwise: str, *, new: bool = False) -> bytes:
    """A password that is typed, twice for a new one; ``otherwise`` says what to do elsewhere."""
    if not sys.stdin.isatty():
        raise click.UsageError(otherwise)
    try:
        password: str = click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True)
        return password.encode()
    except UnicodeError:
        raise click.UsageError("The terminal's text is not UTF-8.") from None


def password_of(file: BinaryIO | None, prompt: str, *, new: bool = False) -> bytes:
    """The password in the file; without a file it is asked for."""
    otherwise = f"{prompt}: nobody can be asked here. Name a file with --password-file."
    password = password_in(file)
    return asked_password(prompt, otherwise, new=new) if password is None else password
