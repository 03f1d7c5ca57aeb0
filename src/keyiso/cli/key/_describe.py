"""A key in words, and as an object for programs."""

import hashlib
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import click
from cryptography.hazmat.primitives import serialization

from keyiso import flags as f
from keyiso import identifiers as i
from keyiso import ncrypt
from keyiso.cli._output import heading, print_details, printable
from keyiso.cli._protection import protection_object, protection_rows
from keyiso.cli.key._terms import USAGES
from keyiso.crypto.public_keys import public_key_der
from keyiso.errors import NCryptError
from keyiso.keys import ExportPolicy, Key, KeyUsage
from keyiso.names import printable_name


def print_key(key: Key) -> None:
    """Everything about a key, for people."""
    print_details(
        [
            ("Key", printable_name(key.name or "")),
            ("Scope", "of this machine" if key.machine else "yours"),
            ("Algorithm", f"{key.algorithm}, {key.length} bits"),
            ("Usage", ", ".join(usage_words(key.usage)) or "none"),
            ("Export", ", ".join(policy_words(key.export_policy)) or "never"),
            ("Fingerprint", f"SHA256:{_fingerprint(key)}" if _is_asymmetric(key) else "none"),
            *protection_rows(key.protection),
        ]
    )
    heading("Properties")
    print_details([(name, printable(str(value))) for name, value in _properties(key).items()])
    if _is_asymmetric(key):
        heading("Public key")
        click.echo(public_pem(key), nl=False)


def key_object(key: Key) -> dict[str, Any]:
    """Everything about a key, for programs."""
    return {
        "name": key.name,
        "machine": key.machine,
        "algorithm": key.algorithm,
        "length": key.length,
        "unique_name": key.unique_name,
        "usage": usage_words(key.usage),
        "export_policy": policy_words(key.export_policy),
        "fingerprint_sha256": _fingerprint(key) if _is_asymmetric(key) else None,
        "public_key": public_pem(key) if _is_asymmetric(key) else None,
        "protection": protection_object(key.protection),
        "properties": _properties(key),
    }


def public_pem(key: Key) -> str:
    """The public key as other programs read it."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def public_ssh(key: Key) -> str:
    """The public key as a line of authorized_keys."""
    line = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return line.decode("ascii") + "\n"


def _is_asymmetric(key: Key) -> bool:
    """It has a public key."""
    return key.algorithm != i.NCRYPT_AES_ALGORITHM


def _fingerprint(key: Key) -> str:
    """SHA-256 of the public key's SubjectPublicKeyInfo, in hexadecimal."""
    return hashlib.sha256(public_key_der(key.public_key())).hexdigest()


def usage_words(usage: KeyUsage) -> list[str]:
    """What a key may be used for."""
    if usage == KeyUsage.ALL:
        return ["all"]
    words = [word for word, bit in USAGES.items() if usage & bit]
    rest = int(usage) & ~int(KeyUsage.SIGN | KeyUsage.DECRYPT | KeyUsage.AGREE)
    return [*words, *([f"{rest:#x}"] if rest else [])]


def policy_words(policy: ExportPolicy) -> list[str]:
    """How a private key may leave."""
    return [word for bit, word in _EXPORTS.items() if policy & bit]


def _properties(key: Key) -> dict[str, Any]:
    """The properties that this key has, by CNG's names."""
    found = {}
    for name, meaning in _MEANINGS.items():
        try:
            found[name] = meaning(ncrypt.NCryptGetProperty(key.handle, name))
        except (NCryptError, struct.error):
            continue  # it does not have this one
    return found


def _text(value: bytes) -> str:
    return value.decode("utf-16-le", "surrogatepass").removesuffix("\0")


def _dword(value: bytes) -> int:
    return int(struct.unpack("<I", value)[0])


def _flags(value: bytes) -> str:
    return f"{_dword(value):#x}"


def _lengths(value: bytes) -> str:
    minimum, maximum, increment, default = struct.unpack("<4I", value)
    if minimum == maximum:
        return str(default)
    return f"{minimum} to {maximum} in steps of {increment}, {default} by default"


_EXPORTS: Final[Mapping[int, str]] = MappingProxyType(
    {
        f.NCRYPT_ALLOW_EXPORT_FLAG: "encrypted",
        f.NCRYPT_ALLOW_PLAINTEXT_EXPORT_FLAG: "plaintext",
        f.NCRYPT_ALLOW_ARCHIVING_FLAG: "encrypted, once",
        f.NCRYPT_ALLOW_PLAINTEXT_ARCHIVING_FLAG: "plaintext, once",
        f.NCRYPT_ALLOW_PKCS11_RSA_AES_EXPORT_FLAG: "wrapped (PKCS #11 RSA-AES)",
    }
)

_MEANINGS: Final[Mapping[str, Callable[[bytes], Any]]] = MappingProxyType(
    {
        i.NCRYPT_NAME_PROPERTY: _text,
        i.NCRYPT_UNIQUE_NAME_PROPERTY: _text,
        i.NCRYPT_ALGORITHM_PROPERTY: _text,
        i.NCRYPT_ALGORITHM_GROUP_PROPERTY: _text,
        i.NCRYPT_ECC_CURVE_NAME_PROPERTY: _text,
        i.NCRYPT_LENGTH_PROPERTY: _dword,
        i.NCRYPT_LENGTHS_PROPERTY: _lengths,
        i.NCRYPT_BLOCK_LENGTH_PROPERTY: _dword,
        i.NCRYPT_CHAINING_MODE_PROPERTY: _text,
        i.NCRYPT_PUBLIC_LENGTH_PROPERTY: _dword,
        i.NCRYPT_SIGNATURE_LENGTH_PROPERTY: _dword,
        i.NCRYPT_KEY_USAGE_PROPERTY: _flags,
        i.NCRYPT_EXPORT_POLICY_PROPERTY: _flags,
        i.NCRYPT_KEY_TYPE_PROPERTY: _flags,
        i.NCRYPT_IMPL_TYPE_PROPERTY: _flags,
        i.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY: _dword,
        i.NCRYPT_USE_PER_BOOT_KEY_PROPERTY: _dword,
    }
)
