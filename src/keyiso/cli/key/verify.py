"""``keyiso key verify``."""

from typing import BinaryIO

import click

from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli.key._signing import (
    Form,
    check_form,
    check_padding,
    decoded,
    digest_of,
    read_signature,
    signing_options,
)
from keyiso.keys import Key
from keyiso.names import printable_name


@click.command()
@click.argument("name")
@click.argument("sigfile", type=click.File("rb"))
@click.argument("file", type=click.File("rb"), default="-")
@signing_options
@json_option
def command(
    name: str,
    sigfile: BinaryIO,
    file: BinaryIO,
    machine: bool,
    hash_name: str,
    padding: str | None,
    is_digest: bool,
    form: Form | None,
    as_json: bool,
) -> None:
    """Check that SIGFILE is the signature of the key NAME over FILE.

    Without FILE, or with -, standard input is what was signed. The exit code is 5 when the
    signature is wrong. The options must be those that the file was signed with.

    \b
    Example: keyiso key verify web letter.sig letter.txt
    """
    if sigfile is file:
        raise click.UsageError("Only one of SIGFILE and FILE can be standard input.")
    with Key.open(name, machine=machine) as key:
        check_padding(key, padding)
        check_form(key, form)
        signature = decoded(key, read_signature(sigfile), form)
        digest = digest_of(file, hash_name, is_digest=is_digest)
        key.verify_digest(signature, digest, hash=hash_name, padding=padding)
    if as_json:
        print_json({"key": name, "hash": hash_name, "verified": True})
    else:
        click.echo(f"The signature is right: it is one of the key '{printable_name(name)}'.")
