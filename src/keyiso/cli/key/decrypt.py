"""``keyiso key decrypt``."""

from base64 import b64encode
from typing import BinaryIO, Unpack

import click

from keyiso.cli._files import (
    check_json,
    check_new,
    check_terminal,
    force_option,
    out_option,
    write_output,
)
from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli.key._encryption import Encryption, encryption_options, padding_of, read_ciphertext
from keyiso.cli.key._name import name_argument
from keyiso.keys import Key


@click.command()
@name_argument
@click.argument("file", type=click.File("rb"), default="-")
@encryption_options
@out_option
@force_option
@json_option
def command(
    name: str,
    file: BinaryIO,
    out: str | None,
    force: bool,
    as_json: bool,
    **encryption: Unpack[Encryption],
) -> None:
    """Decrypt FILE with the key NAME. Without FILE, or with -, standard input.

    The options must be those that FILE was encrypted with. The message is written to a file that
    only you can read, or to a pipe, never to a terminal. With PKCS1 a wrong FILE is not noticed:
    the result is then random bytes.

    \b
    Example: keyiso key decrypt backup secrets.enc --out secrets.txt
    """
    check_json(as_json, out)
    check_terminal(out, "A decrypted message")
    check_new(out, force=force)
    with Key.open(name, machine=encryption["machine"]) as key:
        padding = padding_of(key, encryption)
        message = key.decrypt(read_ciphertext(key, file), **padding)
    if as_json:
        print_json({"key": name, "message": b64encode(message).decode("ascii")})
    else:
        write_output(out, message, secret=True, force=force)
