"""``keyiso key sign``."""

import sys
from typing import BinaryIO, Unpack

import click

from keyiso.cli._files import out_option, write_output
from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli.key._name import name_argument
from keyiso.cli.key._signing import (
    Form,
    Signing,
    check_fit,
    digest_of,
    encoded,
    hash_of,
    signing_options,
)
from keyiso.keys import Key


@click.command()
@name_argument
@click.argument("file", type=click.File("rb"), default="-")
@signing_options
@out_option
@json_option
def command(
    name: str, file: BinaryIO, out: str | None, as_json: bool, **signing: Unpack[Signing]
) -> None:
    """Sign FILE with the key NAME. Without FILE, or with -, standard input.

    The signature is written as other programs expect it: DER for ECDSA, the plain bytes for
    others. On a terminal it is base64.

    \b
    Example: keyiso key sign web letter.txt --out letter.sig
             openssl dgst -sha256 -verify web.pem -signature letter.sig letter.txt
    """
    form = signing["form"]
    if as_json and (out is not None or form not in (None, Form.BASE64)):
        raise click.UsageError("--json prints base64: leave --out and --format out.")
    if form is None and (as_json or (out is None and sys.stdout.isatty())):
        form = Form.BASE64
    with Key.open(name, machine=signing["machine"]) as key:
        check_fit(key, signing)
        hash_name = hash_of(signing)
        digest = digest_of(key, file, signing)
        signature = key.sign_digest(digest, hash=hash_name, padding=signing["padding"])
        data = encoded(key, signature, form)
    if as_json:
        print_json({"key": name, "signature": data.decode("ascii").strip()})
    else:
        write_output(out, data)
