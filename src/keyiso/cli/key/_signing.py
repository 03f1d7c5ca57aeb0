"""What signing and verifying have in common: what is hashed, and how a signature is written."""

import base64
import binascii
import enum
from collections.abc import Callable
from typing import Any, BinaryIO, Final, TypeVar

import click
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from keyiso import limits
from keyiso.cli._options import machine_option
from keyiso.crypto.digests import HASH_NAMES, hash_named
from keyiso.crypto.signatures import signature_bytes
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.keys import Key
from keyiso.status import Status

F = TypeVar("F", bound=Callable[..., Any])

_CHUNK_BYTES: Final = 1 << 20
_SIGNATURE_FILE_BYTES: Final = 64 * 1024
"""Far more than any signature in base64."""


class Form(enum.StrEnum):
    """How a signature stands in a file."""

    RAW = "raw"
    """As CNG has it: for ECDSA, r and s of the curve's size."""
    DER = "der"
    """What openssl and most others use for ECDSA; RSA has none."""
    BASE64 = "base64"
    """Text: of DER for ECDSA, of the signature itself for RSA."""


def signing_options(command: F) -> F:
    """The options that say what is signed and how."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def digest_of(file: BinaryIO, hash_name: str, *, is_digest: bool) -> bytes:
    """The hash of a file of any length, or the file itself where it is one already."""
    algorithm = hash_named(hash_name)
    if is_digest:
        digest = file.read(limits.DIGEST_BYTES + 1)
        if len(digest) != algorithm.digest_size:
            raise ncrypt_error(
                Status.NTE_BAD_LEN,
                f"a {hash_name} hash has {algorithm.digest_size} bytes; the file has another"
                " length",
                "Name its hash algorithm with --hash, or leave --digest out to hash the file.",
            )
        return digest
    computation = hashes.Hash(algorithm)
    while chunk := file.read(_CHUNK_BYTES):
        computation.update(chunk)
    return computation.finalize()


def check_padding(key: Key, padding: str | None) -> None:
    """Refuse a padding for a key that has none."""
    if padding is not None and _is_ecdsa(key):
        raise click.UsageError(f"{key.algorithm} has no padding: leave --padding out.")


def encoded(key: Key, signature: bytes, form: Form | None) -> bytes:
    """The signature as it stands in a file; without a form, as other programs expect it."""
    check_form(key, form)
    if form is Form.RAW or not _is_ecdsa(key):
        usual = signature
    else:
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        usual = utils.encode_dss_signature(r, s)
    return base64.b64encode(usual) + b"\n" if form is Form.BASE64 else usual


def decoded(key: Key, data: bytes, form: Form | None) -> bytes:
    """The signature that stands in a file.

    Raises ``NTE_BAD_SIGNATURE`` for what cannot be a signature of this key.
    """
    check_form(key, form)
    if form is Form.BASE64:
        try:
            data = base64.b64decode(data.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise _no_signature("base64") from None
    if form is not Form.RAW and _is_ecdsa(key):
        data = _from_der(key, data)
    if len(data) != signature_bytes(key.public_key()):
        raise _no_signature(f"{signature_bytes(key.public_key())} bytes")
    return data


def check_form(key: Key, form: Form | None) -> None:
    """Refuse DER for RSA, whose signatures have no such form."""
    if form is Form.DER and not _is_ecdsa(key):
        raise click.UsageError("RSA signatures have no DER form: leave --format out.")


def read_signature(file: BinaryIO) -> bytes:
    """What stands in a signature file, as far as it can be one."""
    return file.read(_SIGNATURE_FILE_BYTES)


def _from_der(key: Key, data: bytes) -> bytes:
    half = signature_bytes(key.public_key()) // 2
    try:
        r, s = utils.decode_dss_signature(data)
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")
    except (ValueError, OverflowError):
        raise _no_signature("DER") from None


def _is_ecdsa(key: Key) -> bool:
    return isinstance(key.public_key(), ec.EllipticCurvePublicKey)


def _no_signature(wanted: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_SIGNATURE,
        f"the file is not a signature of this key: it is not {wanted}",
        "Say with --format how the signature is written.",
    )


def _upper(context: click.Context, option: click.Parameter, value: str) -> str:
    return value.upper()


def _form(context: click.Context, option: click.Parameter, value: str | None) -> Form | None:
    return None if value is None else Form(value)


_OPTIONS: Final = (
    machine_option,
    click.option(
        "--hash",
        "hash_name",
        default="SHA256",
        show_default=True,
        callback=_upper,
        metavar="NAME",
        help=f"One of {', '.join(HASH_NAMES)}.",
    ),
    click.option(
        "--padding",
        type=click.Choice(["PSS", "PKCS1"], case_sensitive=False),
        help="For RSA. [default: PSS]",
    ),
    click.option(
        "--digest", "is_digest", is_flag=True, help="FILE is the hash itself, in bytes, not data."
    ),
    click.option(
        "--format",
        "form",
        type=click.Choice([form.value for form in Form]),
        callback=_form,
        help="How the signature is written. [default: der for ECDSA, raw for RSA]",
    ),
)
