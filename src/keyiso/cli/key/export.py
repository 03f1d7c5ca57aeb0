"""``keyiso key export``."""

import textwrap
from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import BinaryIO, Final

import click

from keyiso.cli._files import (
    check_json,
    check_new,
    check_terminal,
    force_option,
    out_option,
    write_output,
)
from keyiso.cli._options import json_option, machine_option
from keyiso.cli._output import print_json
from keyiso.cli._password import asked_password, password_in
from keyiso.cli.key._describe import public_pem, public_ssh
from keyiso.cli.key._name import name_argument
from keyiso.crypto.algorithms import algorithm_named
from keyiso.crypto.public_keys import public_key_der
from keyiso.errors import ncrypt_error
from keyiso.keys import ExportPolicy, Key
from keyiso.status import Status

_PUBLIC: Final[Mapping[str, Callable[[Key], bytes]]] = MappingProxyType(
    {
        "pem": lambda key: public_pem(key).encode("ascii"),
        "der": lambda key: public_key_der(key.public_key()),
        "ssh": lambda key: public_ssh(key).encode("ascii"),
    }
)


@click.command()
@name_argument
@machine_option
@click.option("--private", is_flag=True, help="The private key, if its export policy allows it.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_PUBLIC)),
    default="pem",
    show_default=True,
    help="PEM, DER, or a line of authorized_keys (public keys only).",
)
@click.option(
    "--password-file",
    type=click.File("rb"),
    help="A file whose first line is the new password; without it, the terminal is asked.",
)
@click.option("--no-password", is_flag=True, help="Write the private key in the clear.")
@out_option
@force_option
@json_option
def command(
    name: str,
    machine: bool,
    private: bool,
    form: str,
    password_file: BinaryIO | None,
    no_password: bool,
    out: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the public key of NAME, or its private key, to a file or standard output.

    A public key is written as SubjectPublicKeyInfo, a private key as PKCS #8 under a password. A
    private key leaves only if its export policy, which was chosen when it was made, allows that;
    from then on keyiso does not protect it.

    \b
    Example: keyiso key export web --out web.pem
             keyiso key export web --private --out web.key
    """
    _check_usage(private, form, password_file, no_password)
    check_json(as_json, out)
    if as_json and form == "der":
        raise click.UsageError("--json prints text: leave --format der out.")
    if private:
        check_terminal(out, "A private key")
    elif form == "der" and not as_json:
        check_terminal(out, "DER")
    check_new(out, force=force)
    with Key.open(name, machine=machine) as key:
        if private:
            _check_policy(key, no_password)
            password = None if no_password else _password(password_file)
            data = _private(key, form, password)
        else:
            data = _PUBLIC[form](key)
    if as_json:
        kind = "private_key" if private else "public_key"
        print_json({"key": name, kind: data.decode("ascii")})
    else:
        write_output(out, data, secret=private, force=force)


def _check_usage(
    private: bool, form: str, password_file: BinaryIO | None, no_password: bool
) -> None:
    if not private and (no_password or password_file is not None):
        raise click.UsageError("A public key has no password: ask for --private, or leave it out.")
    if no_password and password_file is not None:
        raise click.UsageError("Use --password-file or --no-password, not both.")
    if private and form == "ssh":
        raise click.UsageError("A private key is written in PEM or DER, not for ssh.")


def _check_policy(key: Key, no_password: bool) -> None:
    """Refuse early, before a password is asked for; the process that holds the key decides."""
    if algorithm_named(key.algorithm).family == "aes":
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, f"a key of {key.algorithm} has no PKCS #8 form"
        )
    policy = key.export_policy
    if policy & ExportPolicy.PLAINTEXT or (policy & ExportPolicy.ENCRYPTED and not no_password):
        return
    if policy & ExportPolicy.ENCRYPTED:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            "the key's export policy allows it to be exported only under a password",
            "Leave --no-password out.",
        )
    raise ncrypt_error(
        Status.NTE_NOT_SUPPORTED,
        "the key's export policy does not allow the private key to be exported",
        "The policy is chosen with --export-policy when a key is made, and cannot be widened.",
    )


def _password(file: BinaryIO | None) -> str:
    password = password_in(file)
    if password is None:
        password = asked_password(
            "Password for the file",
            "Nobody can be asked for a password here: name one with --password-file.",
            new=True,
        )
    try:
        return password.decode("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError("The password file is not text in UTF-8.") from None


def _private(key: Key, form: str, password: str | None) -> bytes:
    der = key.export(password=password)
    if form == "der":
        return der
    label = "PRIVATE KEY" if password is None else "ENCRYPTED PRIVATE KEY"
    lines = "\n".join(textwrap.wrap(b64encode(der).decode("ascii"), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n".encode("ascii")
