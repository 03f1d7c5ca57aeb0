"""``keyiso key show``."""

import base64
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import click

from keyiso.cli._options import json_option, machine_option
from keyiso.cli._output import print_json
from keyiso.cli.key._describe import key_object, print_key, public_pem, public_ssh
from keyiso.cli.key._name import name_argument
from keyiso.crypto.public_keys import public_key_der
from keyiso.identifiers import BCRYPT_PUBLIC_KEY_BLOB
from keyiso.keys import Key
from keyiso.ncrypt import NCryptExportKey

_FORMATS: Final[Mapping[str, Callable[[Key], str]]] = MappingProxyType(
    {
        "pem": public_pem,
        "der-hex": lambda key: public_key_der(key.public_key()).hex(),
        "der-base64": lambda key: base64.b64encode(public_key_der(key.public_key())).decode(),
        "cng-hex": lambda key: NCryptExportKey(key.handle, None, BCRYPT_PUBLIC_KEY_BLOB).hex(),
        "ssh": public_ssh,
    }
)


@click.command()
@name_argument
@machine_option
@click.option(
    "--public",
    type=click.Choice(list(_FORMATS)),
    help="Print only the public key, in this form.",
)
@json_option
def command(name: str, machine: bool, public: str | None, as_json: bool) -> None:
    """What the key NAME is: properties, fingerprint, protection, public key.

    The fingerprint is the SHA-256 of the public key (SubjectPublicKeyInfo). "Not stopped" says
    who can get or use the key all the same.

    \b
    Example: keyiso key show web --public pem > web.pem
    """
    if public is not None and as_json:
        raise click.UsageError("Use --public or --json, not both.")
    with Key.open(name, machine=machine) as key:
        if public is not None:
            click.echo(_FORMATS[public](key).rstrip("\n"))
        elif as_json:
            print_json(key_object(key))
        else:
            print_key(key)
