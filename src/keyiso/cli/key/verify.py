"""``keyiso key verify``."""

from typing import BinaryIO, Unpack

import click

from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli.key._name import name_argument
from keyiso.cli.key._signing import (
    Signing,
    check_fit,
    digest_of,
    hash_of,
    read_signature,
    signing_options,
)
from keyiso.keys import Key
from keyiso.names import printable_name


@click.command()
@name_argument
@click.argument("sigfile", type=click.File("rb"))
@click.argument("file", type=click.File("rb"), default="-")
@signing_options
@json_option
def command(
    name: str, sigfile: BinaryIO, file: BinaryIO, as_json: bool, **signing: Unpack[Signing]
) -> None:
    """Check that SIGFILE is the signature of the key NAME over FILE.

    Without FILE, or with -, standard input is what was signed. The exit code is 5 when the
    signature is wrong. The options must be those that the file was signed with.

    \b
    Example: keyiso key verify web letter.sig letter.txt
    """
    if sigfile is file:
        raise click.UsageError("Only one of SIGFILE and FILE can be standard input.")
    with Key.open(name, machine=signing["machine"]) as key:
        check_fit(key, signing)
        signature = read_signature(key, sigfile, signing["form"])
        digest = digest_of(key, file, signing)
        key.verify_digest(signature, digest, hash=hash_of(signing), padding=signing["padding"])
    if as_json:
        print_json({"key": name, "verified": True})
    else:
        click.echo(f"The signature is right: it is one of the key '{printable_name(name)}'.")
