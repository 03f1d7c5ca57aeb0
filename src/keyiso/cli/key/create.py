"""``keyiso key create``."""

import contextlib
from typing import Final, Unpack

import click
from click.shell_completion import CompletionItem

from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli._progress import working
from keyiso.cli.key._describe import key_object
from keyiso.cli.key._tell import tell_new_key
from keyiso.cli.key._terms import Terms, term_options
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.keys import Key

_QUICK_RSA_BITS: Final = 4096
"""Longer ones take seconds, the longest more than a minute."""


def _algorithms(
    context: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    return [CompletionItem(name) for name in ALGORITHMS if name.startswith(incomplete)]


@click.command()
@click.argument("name")
@click.option(
    "--algorithm",
    required=True,
    shell_complete=_algorithms,
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
    with _created(name, algorithm, length, terms) as key:
        if as_json:
            print_json(key_object(key))
        else:
            tell_new_key("Created", key, terms["protection"])


def _created(name: str, algorithm: str, length: int | None, terms: Terms) -> Key:
    slow = algorithm == "RSA" and length is not None and length > _QUICK_RSA_BITS
    what = f"Generating an RSA key of {length} bits:"
    try:
        with working(what) if slow else contextlib.nullcontext():
            return Key.create(name, algorithm, length=length, **terms)
    except KeyboardInterrupt:
        click.echo("Interrupted; the key may be made all the same.", err=True)
        raise
