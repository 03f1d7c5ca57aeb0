"""``keyiso passport answer``."""

from pathlib import Path
from typing import BinaryIO

import click

from keyiso.cli._answering import answering, confirmed_request
from keyiso.cli._armour import PASSPORT_ANSWER, PASSPORT_REQUEST, armoured
from keyiso.cli._recovery_keys import read_private_key
from keyiso.crypto.container_copy import answer_reset, decode_reset


@click.command()
@answering
def command(request: BinaryIO, key: Path, password_file: BinaryIO | None, yes: bool) -> None:
    """Answer the REQUEST of an unlock, on the machine that has the private reset key.

    WHOEVER MADE THE REQUEST CAN SET A PIN, and use the keys of that container. Compare its
    fingerprint with the one that `keyiso passport unlock` has printed, and be sure of who asks.

    The answer is printed. It is good once, for this request, on the machine that made it.
    """
    asked = confirmed_request(
        request, PASSPORT_REQUEST, _asks_for, printed_by="the unlock", yes=yes
    )
    private_key = read_private_key(key, password_file)
    click.echo(armoured(answer_reset(asked, private_key), PASSPORT_ANSWER), nl=False)


def _asks_for(request: bytes) -> list[str]:
    decoded = decode_reset(request)
    return [f"a new PIN of uid {decoded.owner}, for the container {decoded.container_id.hex()}"]
