"""``keyiso recovery answer``."""

from pathlib import Path
from typing import BinaryIO

import click

from keyiso.cli._answering import answering, confirmed_request
from keyiso.cli._armour import ANSWER, REQUEST, armoured
from keyiso.cli._recovery_keys import read_private_key
from keyiso.crypto.recovery import answer_request, decode_request


@click.command()
@answering
def command(request: BinaryIO, key: Path, password_file: BinaryIO | None, yes: bool) -> None:
    """Answer the REQUEST of a restore, on the machine that has the private recovery key.

    WHOEVER MADE THE REQUEST GETS THE MACHINE ROOTS. Compare its fingerprint with the one that the
    restore has printed; that you are asked is what the machine that you trust was told to do.

    The answer is printed. It opens only in the process that waits for it.
    """
    asked = confirmed_request(request, REQUEST, _asks_for, printed_by="the restore", yes=yes)
    private_key = read_private_key(key, password_file)
    click.echo(armoured(answer_request(asked, private_key), ANSWER), nl=False)


def _asks_for(request: bytes) -> list[str]:
    return [f"the machine root {copy.root_id.hex()}" for copy in decode_request(request).copies]
