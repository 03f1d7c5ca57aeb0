"""``keyiso key sign``."""

import sys
from typing import BinaryIO

import click

from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli.key._signing import (
    Form,
    check_form,
    check_padding,
    digest_of,
    encoded,
    signing_options,
)
from keyiso.keys import Key


@click.command()
@click.argument("name")
@click.argument("file", type=click.File("rb"), default="-")
@signing_options
@click.option("--out", type=click.File("wb", lazy=True), help="Write the signature to this file.")
@json_option
def command(
    name: str,
    file: BinaryIO,
    machine: bool,
    hash_name: str,
    padding: str | None,
    is_digest: bool,
    form: Form | None,
    out: BinaryIO | None,
    as_json: bool,
) -> None:
    """Sign FILE with the key NAME. Without FILE, or with -, standard input.

    The signature is written as other programs expect it: DER for ECDSA, the plain bytes for
    RSA. On a terminal it is base64.

    \b
    Example: keyiso key sign web letter.txt --out letter.sig
             openssl dgst -sha256 -verify web.pem -signature letter.sig letter.txt
    """
    if as_json and (out is not None or form not in (None, Form.BASE64)):
        raise click.UsageError("--json prints base64: leave --out and --format out.")
    with Key.open(name, machine=machine) as key:
        check_padding(key, padding)
        check_form(key, form)
        digest = digest_of(file, hash_name, is_digest=is_digest)
        signature = key.sign_digest(digest, hash=hash_name, padding=padding)
        if as_json:
            text = encoded(key, signature, Form.BASE64).decode("ascii").strip()
            print_json({"key": name, "hash": hash_name, "signature": text})
            return
        if form is None and out is None and sys.stdout.isatty():
            form = Form.BASE64
        data = encoded(key, signature, form)
    if out is None:
        click.echo(data, nl=False)
    else:
        out.write(data)
