"""``keyiso key csr``."""

from collections.abc import Callable
from typing import Final, TypeVar

import click
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from keyiso.cli._files import check_json, check_terminal, out_option, write_output
from keyiso.cli._options import json_option, machine_option
from keyiso.cli._output import print_json
from keyiso.cli.key._hash import DEFAULT_HASH, hash_option
from keyiso.cli.key._name import name_argument
from keyiso.cli.key._subject import alternative_name, subject_of
from keyiso.crypto.algorithms import algorithm_named
from keyiso.crypto.digests import hash_named
from keyiso.errors import ncrypt_error
from keyiso.keys import Key
from keyiso.status import Status

T = TypeVar("T")


def _read(read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


_ENCODINGS: Final = {"pem": serialization.Encoding.PEM, "der": serialization.Encoding.DER}


@click.command()
@name_argument
@machine_option
@click.option(
    "--subject",
    required=True,
    metavar="DN",
    callback=lambda context, option, value: None if value is None else _read(subject_of, value),
    help='Whom the certificate is for: "CN=example.org,O=Example" or "/O=Example/CN=example.org".',
)
@click.option(
    "--san",
    "alternatives",
    multiple=True,
    metavar="NAME",
    callback=lambda context, option, value: [_read(alternative_name, one) for one in value or ()],
    help="Another name: DNS:example.org, IP:192.0.2.1, email:me@example.org, URI:https://…;"
    " without a kind it is a DNS name. Can be repeated.",
)
@hash_option("For RSA and ECDSA. ")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(_ENCODINGS)),
    default="pem",
    show_default=True,
    help="How the request is written.",
)
@out_option
@json_option
def command(
    name: str,
    machine: bool,
    subject: x509.Name,
    alternatives: list[x509.GeneralName],
    hash_name: str | None,
    form: str,
    out: str | None,
    as_json: bool,
) -> None:
    """Ask for a certificate: a PKCS #10 request, signed with the key NAME.

    Send it to a certificate authority, or have it checked with openssl.

    \b
    Example: keyiso key csr web --subject "CN=example.org" --out web.csr
             openssl req -verify -noout -in web.csr
    """
    if not subject.rdns and not alternatives:
        raise click.UsageError("The request names nobody: give --subject a name, or add --san.")
    check_json(as_json, out)
    if as_json and form == "der":
        raise click.UsageError("--json prints text: leave --format der out.")
    if form == "der":
        check_terminal(out, "DER")
    builder = x509.CertificateSigningRequestBuilder(subject)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    with Key.open(name, machine=machine) as key:
        request = _signed(builder, key, hash_name)
    data = request.public_bytes(_ENCODINGS[form])
    if as_json:
        print_json({"key": name, "csr": data.decode("ascii")})
    else:
        write_output(out, data)


def _signed(
    builder: x509.CertificateSigningRequestBuilder, key: Key, hash_name: str | None
) -> x509.CertificateSigningRequest:
    family = algorithm_named(key.algorithm).family
    if family not in ("rsa", "ecdsa", "ed25519"):
        raise ncrypt_error(
            Status.NTE_BAD_ALGID,
            f"a key of {key.algorithm} does not sign",
            "Use a key of RSA, ECDSA or ED25519.",
        )
    if family == "ed25519":
        if hash_name is not None:
            raise click.UsageError(f"{key.algorithm} uses no hash: leave --hash out.")
        return builder.sign(key.private_key(), None)
    algorithm = hash_named(hash_name or DEFAULT_HASH)
    try:
        # The library takes fewer hashes than our type has, and refuses the others.
        return builder.sign(key.private_key(), algorithm)  # type: ignore[arg-type] # see above
    except UnsupportedAlgorithm:  # the library names the hashes that it signs requests with
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, f"requests are not signed with {hash_name}", "Use SHA256."
        ) from None
