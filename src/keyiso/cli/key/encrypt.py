"""``keyiso key encrypt``."""

from base64 import b64encode
from typing import BinaryIO, Unpack

import click

from keyiso.cli._files import check_json, check_terminal, out_option, write_output
from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli.key._encryption import Encryption, encryption_options, padding_of, read_message
from keyiso.cli.key._name import name_argument
from keyiso.keys import Key


@click.command()
@name_argument
@click.argument("file", type=click.File("rb"), default="-")
@encryption_options
@out_option
@json_option
def command(
    name: str,
    file: BinaryIO,
    out: str | None,
    as_json: bool,
    **encryption: Unpack[Encryption],
) -> None:
    """Encrypt FILE with the key NAME. Without FILE, or with -, standard input.

    An AES key encrypts up to 61440 bytes and notices changes when it decrypts them. An RSA key
    encrypts only short messages: with OAEP and SHA256 66 bytes less than its length, 190 bytes
    for a key of 2048 bits.

    \b
    Example: keyiso key encrypt backup secrets.txt --out secrets.enc
    """
    check_json(as_json, out)
    if not as_json:
        check_terminal(out, "A ciphertext")
    with Key.open(name, machine=encryption["machine"]) as key:
        padding = padding_of(key, encryption)
        ciphertext = key.encrypt(read_message(key, file, padding), **padding)
    if as_json:
        print_json({"key": name, "ciphertext": b64encode(ciphertext).decode("ascii")})
    else:
        write_output(out, ciphertext)
