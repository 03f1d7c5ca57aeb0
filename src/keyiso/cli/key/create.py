"""``keyiso key create``."""

from typing import Unpack

import click

from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli.key._describe import key_object
from keyiso.cli.key._tell import tell_new_key
from keyiso.cli.key._terms import Terms, term_options
from keyiso.keys import Key


@click.command()
@click.argument("name")
@click.option(
    "--algorithm",
    required=True,
    help="RSA, ECDSA_P256, ED25519, AES and others; `keyiso provider show` lists them.",
)
@click.option(
    "--length",
    type=click.IntRange(1, 0xFFFFFFFF),
    metavar="BITS",
    help="For RSA and AES. [default: 2048 for RSA, 256 for AES]",
)
@term_options
@json_option
def command(
    name: str, algorithm: str, length: int | None, as_json: bool, **terms: Unpack[Terms]
) -> None:
    """Make a new key and keep it under NAME.

    The private key is made in the process that will hold it, and is stored sealed.

    \b
    Example: keyiso key create web --algorithm ECDSA_P256
    """
    with Key.create(name, algorithm, length=length, **terms) as key:
        if as_json:
            print_json(key_object(key))
        else:
            tell_new_key("Created", key, terms["protection"])
