"""Answering a request where the private recovery key is: what it takes, and who is asked first."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import click

from keyiso.cli._armour import read_armoured
from keyiso.cli._fingerprints import request_fingerprint
from keyiso.server.startup import harden_process

_PARAMETERS: Final = (
    click.argument("request", type=click.File("rb")),
    click.option(
        "--key",
        required=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The private recovery key.",
    ),
    click.option(
        "--password-file",
        type=click.File("rb"),
        help="A file whose first line is its password; without it, the terminal is asked.",
    ),
    click.option("--yes", is_flag=True, help="Do not ask."),
)


def answering(command: click.decorators.FC) -> click.decorators.FC:
    """The parameters: ``request``, ``key``, ``password_file`` and ``yes``."""
    for parameter in reversed(_PARAMETERS):
        command = parameter(command)
    return command


def confirmed_request(
    request: BinaryIO,
    label: str,
    asks_for: Callable[[bytes], list[str]],
    *,
    printed_by: str,
    yes: bool,
) -> bytes:
    """The request, when somebody has said that it is the one that is meant, or need not be asked.

    ``asks_for``: what it asks for, in lines. Raises what `read_armoured` does, and what that does.
    """
    if not yes and (request.name == "<stdin>" or not sys.stdin.isatty()):
        raise click.UsageError("Nobody is asked here: use --yes.")
    harden_process()
    asked = read_armoured(request, label)
    lines = asks_for(asked)
    click.echo(f"The request's fingerprint is {request_fingerprint(asked)}", err=True)
    for line in lines:
        click.echo(f"It asks for {line}", err=True)
    if not yes:
        click.confirm(f"Is this what {printed_by} has printed?", abort=True, err=True)
    return asked
