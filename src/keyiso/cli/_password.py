"""Passwords: a file's first line, or typed. Never an argument, never printed."""

import sys
from typing import BinaryIO

import click

from keyiso import limits


def password_of(file: BinaryIO | None, prompt: str, *, new: bool = False) -> bytes:
    """The password that the file begins with; without one it is asked for."""
    return asked_password(prompt, new=new) if file is None else first_line(file)


def first_line(file: BinaryIO) -> bytes:
    """The password that a file begins with."""
    password = file.readline(limits.PASSWORD_BYTES + 2).rstrip(b"\r\n")
    if not password:
        raise click.UsageError("The password file begins with an empty line.")
    return password


def asked_password(prompt: str, *, new: bool = False) -> bytes:
    """What somebody types on the terminal; a new password twice."""
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"{prompt}: nobody can be asked here. Name a file that has it with --password-file."
        )
    password: str = click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True)
    return password.encode()
