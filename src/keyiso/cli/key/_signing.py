"""What signing and verifying have in common: what is hashed, and how a signature is written."""

import base64
import binascii
import enum
from collections.abc import Callable
from typing import Any, BinaryIO, Final, TypedDict, TypeVar

import click
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import utils

from keyiso import limits
from keyiso.cli._options import machine_option
from keyiso.cli.key._hash import DEFAULT_HASH, hash_option
from keyiso.crypto.algorithms import Family, algorithm_named
from keyiso.crypto.digests import hash_named
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
    """What openssl and most others use for ECDSA; other algorithms have none."""
    BASE64 = "base64"
    """Text: of DER for ECDSA, of the signature itself otherwise."""


class Signing(TypedDict):
    """The values of `signing_options`."""

    machine: bool
    hash_name: str | None
    padding: str | None
    is_digest: bool
    form: Form | None


def signing_options(command: F) -> F:
    """The options that say what is signed and how."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_fit(key: Key, signing: Signing) -> None:
    """Refuse options that the key's algorithm does not have."""
    family = _family(key)
    if signing["padding"] is not None and family != "rsa":
        raise click.UsageError(f"{key.algorithm} has no padding: leave --padding out.")
    if signing["form"] is Form.DER and family != "ecdsa":
        raise click.UsageError(
            f"Signatures of {key.algorithm} have no DER form: leave --format out."
        )
    if family == "ed25519" and (signing["hash_name"] is not None or signing["is_digest"]):
        raise click.UsageError(
            f"{key.algorithm} signs the file, not a hash of it: leave --hash and --digest out."
        )


def hash_of(signing: Signing) -> str:
    """The hash algorithm's CNG identifier."""
    return signing["hash_name"] or DEFAULT_HASH


def digest_of(key: Key, file: BinaryIO, signing: Signing) -> bytes:
    """What the key signs: the hash of a file of any length, or a short file itself."""
    if _family(key) == "ed25519":
        return file.read(limits.MESSAGE_BYTES + 1)  # one too many is refused by the provider
    if signing["is_digest"]:
        return _read_digest(file, hash_of(signing))
    computation = hashes.Hash(hash_named(hash_of(signing)))
    while chunk := file.read(_CHUNK_BYTES):
        computation.update(chunk)
    return computation.finalize()


def encoded(key: Key, signature: bytes, form: Form | None) -> bytes:
    """The signature as it stands in a file; without a form, as other programs expect it."""
    if form is not Form.RAW and _family(key) == "ecdsa":
        half = len(signature) // 2
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        signature = utils.encode_dss_signature(r, s)
    return base64.b64encode(signature) + b"\n" if form is Form.BASE64 else signature


def read_signature(key: Key, file: BinaryIO, form: Form | None) -> bytes:
    """The signature that stands in a file.

    Raises ``NTE_BAD_SIGNATURE`` for what cannot be a signature of this key.
    """
    data = file.read(_SIGNATURE_FILE_BYTES)
    if form is Form.BASE64:
        try:
            data = base64.b64decode(data.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise _no_signature("base64") from None
    if form is not Form.RAW and _family(key) == "ecdsa":
        data = _from_der(key, data)
    if len(data) != signature_bytes(key.public_key()):
        raise _no_signature(f"{signature_bytes(key.public_key())} bytes")
    return data


def _read_digest(file: BinaryIO, hash_name: str) -> bytes:
    size = hash_named(hash_name).digest_size
    digest = file.read(size + 1)
    if len(digest) != size:
        raise ncrypt_error(
            Status.NTE_BAD_LEN,
            f"a {hash_name} hash has {size} bytes; the file has another length",
            "Name its hash algorithm with --hash, or leave --digest out to hash the file.",
        )
    return digest


def _from_der(key: Key, data: bytes) -> bytes:
    half = signature_bytes(key.public_key()) // 2
    try:
        r, s = utils.decode_dss_signature(data)
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")
    except (ValueError, OverflowError):
        raise _no_signature("DER") from None


def _family(key: Key) -> Family:
    """What decides on paddings and forms."""
    return algorithm_named(key.algorithm).family


def _no_signature(wanted: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_SIGNATURE,
        f"the file is not a signature of this key: it is not {wanted}",
        "Say with --format how the signature is written.",
    )


def _form(context: click.Context, option: click.Parameter, value: str | None) -> Form | None:
    return None if value is None else Form(value)


_OPTIONS: Final = (
    machine_option,
    hash_option(),
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
        help="How the signature is written. [default: der for ECDSA, raw for others]",
    ),
)
