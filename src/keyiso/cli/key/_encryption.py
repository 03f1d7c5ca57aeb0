"""What encrypting and decrypting have in common: paddings, and what fits into one message."""

from collections.abc import Callable
from typing import Any, BinaryIO, Final, TypedDict, TypeVar

import click

from keyiso import limits
from keyiso.cli._options import machine_option
from keyiso.cli.key._hash import DEFAULT_HASH, hash_option
from keyiso.crypto.algorithms import algorithm_named
from keyiso.crypto.ciphers import NONCE_BYTES, TAG_BYTES
from keyiso.crypto.digests import hash_named
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.keys import Key
from keyiso.status import Status

F = TypeVar("F", bound=Callable[..., Any])

_AES_OVERHEAD_BYTES: Final = 1 + NONCE_BYTES + TAG_BYTES
"""What `Key.encrypt` adds: version, nonce, tag."""

_PKCS1_OVERHEAD_BYTES: Final = 11


class Encryption(TypedDict):
    """The values of `encryption_options`."""

    machine: bool
    hash_name: str | None
    padding: str | None


class Padding(TypedDict):
    """What `Key.encrypt` and `Key.decrypt` take."""

    padding: str
    hash: str


def encryption_options(command: F) -> F:
    """The options that say how a message is encrypted."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def padding_of(key: Key, encryption: Encryption) -> Padding:
    """How the key is used. Refuses keys that do not encrypt, and options that mean nothing."""
    family = algorithm_named(key.algorithm).family
    if family not in ("rsa", "aes"):
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            f"a key of {key.algorithm} does not encrypt",
            "Use an RSA or an AES key.",
        )
    padding, hash_name = encryption["padding"], encryption["hash_name"]
    if family == "aes" and (padding is not None or hash_name is not None):
        raise click.UsageError("AES has no padding here: leave --padding and --hash out.")
    if padding == "PKCS1" and hash_name is not None:
        raise click.UsageError("PKCS1 uses no hash: leave --hash out.")
    if hash_name is not None:
        hash_named(hash_name)  # it is known before anything is read
    return {"padding": padding or "OAEP", "hash": hash_name or DEFAULT_HASH}


def read_message(key: Key, file: BinaryIO, padding: Padding) -> bytes:
    """What is to be encrypted. Raises ``NTE_BAD_LEN`` for more than the key takes at once."""
    longest = _longest_message(key, padding)
    message = file.read(max(longest, 0) + 1)
    if len(message) <= longest:
        return message
    if key.algorithm == "AES":
        raise _too_long(
            f"an AES key encrypts at most {longest} bytes at once",
            "Encrypt the file with another program, and that program's key here.",
        )
    how = padding["padding"]
    if how == "OAEP":
        how += f" and {padding['hash']}"
    if longest < 0:
        raise _too_long(
            f"an RSA key of {key.length} bits is too short for {how}", "Name a shorter --hash."
        )
    raise _too_long(
        f"an RSA key of {key.length} bits encrypts at most {longest} bytes with {how}",
        "Encrypt the file with an AES key; RSA is for short secrets such as other keys.",
    )


def read_ciphertext(key: Key, file: BinaryIO) -> bytes:
    """What is to be decrypted. Raises ``NTE_BAD_LEN`` for what no key here has made."""
    if key.algorithm == "AES":
        longest = limits.MESSAGE_BYTES + _AES_OVERHEAD_BYTES
    else:
        longest = _modulus_bytes(key)
    ciphertext = file.read(longest + 1)
    if len(ciphertext) > longest:
        raise _too_long(f"a ciphertext of this key has at most {longest} bytes", "")
    return ciphertext


def _longest_message(key: Key, padding: Padding) -> int:
    if key.algorithm == "AES":
        return limits.MESSAGE_BYTES
    if padding["padding"] == "PKCS1":
        return _modulus_bytes(key) - _PKCS1_OVERHEAD_BYTES
    return _modulus_bytes(key) - 2 * hash_named(padding["hash"]).digest_size - 2


def _modulus_bytes(key: Key) -> int:
    return (key.length + 7) // 8


def _too_long(cause: str, action: str) -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_LEN, cause, action)


_OPTIONS: Final = (
    machine_option,
    click.option(
        "--padding",
        type=click.Choice(["OAEP", "PKCS1"], case_sensitive=False),
        help="For RSA. [default: OAEP]",
    ),
    hash_option("For OAEP. "),
)
