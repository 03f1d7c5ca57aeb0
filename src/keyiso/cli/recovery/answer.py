"""``keyiso recovery answer``."""

import hashlib
import sys
from pathlib import Path
from typing import BinaryIO

import click

from keyiso.cli._armour import ANSWER, REQUEST, armoured, read_armoured
from keyiso.cli._enrolments import fingerprint_text
from keyiso.cli._recovery_keys import read_private_key
from keyiso.crypto.recovery import answer_request, decode_request
from keyiso.server.startup import harden_process


@click.command()
@click.argument("request", type=click.File("rb"))
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The private recovery key.",
)
@click.option(
    "--password-file",
    type=click.File("rb"),
    help="A file whose first line is its password; without it, the terminal is asked.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(request: BinaryIO, key: Path, password_file: BinaryIO | None, yes: bool) -> None:
    """Answer the REQUEST of a restore, on the machine that has the private recovery key.

    WHOEVER MADE THE REQUEST GETS THE MACHINE ROOTS. Compare its fingerprint with the one that the
    restore has printed; that you are asked is what the machine that you trust was told to do.

    The answer is printed. It opens only in the process that waits for it.
    """
    if not yes and (request.name == "<stdin>" or not sys.stdin.isatty()):
        raise click.UsageError("Nobody is asked here: use --yes.")
    harden_process()
    asked = read_armoured(request, REQUEST)
    copies = decode_request(asked).copies
    known_by = fingerprint_text(hashlib.sha256(asked).digest())
    click.echo(f"The request's fingerprint is {known_by}", err=True)
    for copy in copies:
        click.echo(f"It asks for the machine root {copy.root_id.hex()}", err=True)
    if not yes:
        click.confirm("Is this what the restore has printed?", abort=True, err=True)
    private_key = read_private_key(key, password_file)
    click.echo(armoured(answer_request(asked, private_key), ANSWER), nl=False)
