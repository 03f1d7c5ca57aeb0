"""``keyiso key agree``."""

import os
from typing import BinaryIO, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import limits
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
from keyiso.cli.key._hash import DEFAULT_HASH, hash_option
from keyiso.cli.key._name import name_argument
from keyiso.crypto.algorithms import algorithm_named
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.keys import Key
from keyiso.status import Status

_FILE_BYTES: Final = 64 * 1024
"""Far more than any public key, with comments around it."""


@click.command()
@name_argument
@click.argument("peer", metavar="PEER_PUBLIC_KEY_FILE", type=click.File("rb"))
@machine_option
@click.option(
    "--length",
    type=click.IntRange(1, limits.DERIVED_KEY_BYTES),
    metavar="BYTES",
    default=32,
    show_default=True,
    help="Of the derived key.",
)
@hash_option("For HKDF. ")
@click.option(
    "--salt", metavar="TEXT", help="For HKDF; the other side needs the same. None by default."
)
@click.option("--salt-hex", metavar="HEX", help="The same in hexadecimal.")
@click.option(
    "--info", metavar="TEXT", help="For HKDF: what the derived key is for. None by default."
)
@click.option("--info-hex", metavar="HEX", help="The same in hexadecimal.")
@out_option
@force_option
@json_option
def command(
    name: str,
    peer: BinaryIO,
    machine: bool,
    length: int,
    hash_name: str | None,
    salt: str | None,
    salt_hex: str | None,
    info: str | None,
    info_hex: str | None,
    out: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Derive a key that only the owner of PEER_PUBLIC_KEY_FILE can derive too.

    The ECDH key NAME and the other public key (PEM or DER) agree on a secret, and HKDF makes a
    key of it. It is written to a file as it is, or to a pipe in hexadecimal, never to a terminal.

    \b
    Example: keyiso key agree mine theirs.pem --info "session 1" --out session.key
    """
    check_json(as_json, out)
    check_terminal(out, "A derived key")
    check_new(out, force=force)
    salt_bytes, info_bytes = _bytes("salt", salt, salt_hex), _bytes("info", info, info_hex)
    with Key.open(name, machine=machine) as key:
        derived = key.agree(
            _peer(key, peer),
            length=length,
            hash=hash_name or DEFAULT_HASH,
            salt=salt_bytes,
            info=info_bytes,
        )
    if as_json:
        print_json({"key": name, "derived_key": derived.hex()})
    elif out is None:
        click.echo(derived.hex())
    else:
        write_output(out, derived, secret=True, force=force)


def _bytes(option: str, text: str | None, hexadecimal: str | None) -> bytes:
    if text is not None and hexadecimal is not None:
        raise click.UsageError(f"Use --{option} or --{option}-hex, not both.")
    if hexadecimal is None:
        return os.fsencode(text or "")  # the bytes that were typed
    try:
        return bytes.fromhex(hexadecimal)
    except ValueError:
        raise click.UsageError(f"--{option}-hex is not hexadecimal.") from None


def _peer(key: Key, file: BinaryIO) -> ec.EllipticCurvePublicKey:
    """The other public key, if the two can agree on something."""
    algorithm = algorithm_named(key.algorithm)
    if algorithm.family != "ecdh":
        raise ncrypt_error(
            Status.NTE_BAD_ALGID,
            f"a key of {key.algorithm} does not agree on secrets",
            "Use a key of ECDH_P256, ECDH_P384 or ECDH_P521.",
        )
    public = _load(file.read(_FILE_BYTES))
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise _unfit("it is not one of ECDH")
    if algorithm.curve is None or public.curve.name != algorithm.curve().name:
        raise _unfit(f"it is on the curve {public.curve.name}")
    return public


def _load(data: bytes) -> object:
    pem = b"-----BEGIN" in data
    load = serialization.load_pem_public_key if pem else serialization.load_der_public_key
    try:
        return load(data)
    except (ValueError, UnsupportedAlgorithm):
        raise ncrypt_error(
            Status.NTE_BAD_DATA,
            "the file is not a public key in PEM or DER",
            "The other side writes one with: keyiso key export NAME --out FILE",
        ) from None


def _unfit(why: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, f"the public key does not fit the key: {why}")
