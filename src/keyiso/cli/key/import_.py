"""``keyiso key import``."""

import binascii
import re
from typing import BinaryIO, Final, Unpack

import click
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from keyiso import limits
from keyiso.cli._options import json_option
from keyiso.cli._output import print_json
from keyiso.cli._password import asked_password, password_in
from keyiso.cli.key._describe import key_object
from keyiso.cli.key._tell import tell_new_key
from keyiso.cli.key._terms import Terms, term_options
from keyiso.crypto.password_cost import check_password_cost
from keyiso.errors import ncrypt_error
from keyiso.keys import Key
from keyiso.status import Status

_FILE_BYTES: Final = 4 * limits.PRIVATE_KEY_BYTES
"""PEM makes a key a third longer, and people put comments around it."""

_ENCRYPTED: Final = re.compile(
    rb"-----BEGIN ENCRYPTED PRIVATE KEY-----(.*?)-----END ENCRYPTED PRIVATE KEY-----", re.DOTALL
)


@click.command()
@click.argument("name")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--password-file",
    type=click.File("rb"),
    help="A file whose first line is the password of FILE; without it, the terminal is asked.",
)
@term_options
@json_option
def command(
    name: str,
    file: BinaryIO,
    password_file: BinaryIO | None,
    as_json: bool,
    **terms: Unpack[Terms],
) -> None:
    """Take over the private key in FILE and keep it under NAME.

    FILE is PEM or DER, PKCS #8 or the older forms of OpenSSL, with or without a password.
    The file itself is not changed: whoever has a copy of it still has the key.

    \b
    Example: keyiso key import web server.key
    """
    private_key = _load(_read(file), password_in(password_file))
    pkcs8 = private_key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with Key.import_key(name, pkcs8, **terms) as key:
        if as_json:
            print_json(key_object(key))
            return
        tell_new_key("Imported", key, terms["protection"])
        click.echo("The file still has the private key; so has every copy of it.")


def _read(file: BinaryIO) -> bytes:
    data = file.read(_FILE_BYTES + 1)
    if len(data) > _FILE_BYTES:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT, f"a file with a private key has at most {_FILE_BYTES} bytes"
        )
    return data


def _load(data: bytes, password: bytes | None) -> PrivateKeyTypes:
    try:
        return _parse(data, password)
    except TypeError:
        # How the library says that a password is missing, or is one too many.
        if password is not None:
            raise click.UsageError(
                "FILE is not protected by a password: leave --password-file out."
            ) from None
    password = asked_password(
        "Password of the file",
        "FILE is protected by a password: name one with --password-file.",
    )
    return _parse(data, password)


def _parse(data: bytes, password: bytes | None) -> PrivateKeyTypes:
    try:
        if encrypted := _ENCRYPTED.search(data):
            data = binascii.a2b_base64(encrypted[1])
        if b"-----BEGIN" in data:
            return serialization.load_pem_private_key(data, password)
        check_password_cost(data)
        return serialization.load_der_private_key(data, password)
    except UnsupportedAlgorithm:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, "the file's algorithm or encryption is not supported"
        ) from None
    except (ValueError, InternalError):
        # The library's own message may quote the file.
        other = "" if password is None else ", or the password is wrong"
        raise ncrypt_error(
            Status.NTE_BAD_DATA, f"the file is not a private key in PEM or DER{other}"
        ) from None
