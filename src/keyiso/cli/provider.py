"""``keyiso provider``: the registered key storage providers."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, Final

import click

from keyiso import flags as f
from keyiso import ncrypt
from keyiso.cli._options import json_option
from keyiso.cli._output import heading, print_details, print_json, print_table, printable
from keyiso.errors import NCryptError
from keyiso.identifiers import (
    NCRYPT_IMPL_TYPE_PROPERTY,
    NCRYPT_MAX_NAME_LENGTH_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_VERSION_PROPERTY,
)
from keyiso.names import printable_name
from keyiso.router import Registration, process_router


@click.group()
def command() -> None:
    """Where keys can be kept: the key storage providers that are registered here."""


@command.command("list")
@json_option
def list_providers(as_json: bool) -> None:
    """Every registered provider, and whether its code can be loaded."""
    entries = [(entry, _why_not(entry)) for entry in process_router().registrations()]
    if as_json:
        print_json(
            {
                "providers": [
                    {**asdict(entry), "loads": not why_not, "problem": why_not or None}
                    for entry, why_not in entries
                ]
            }
        )
        return
    print_table(
        ("NAME", "IMAGE", "LOADS", "SOURCE", "COMMENT"),
        [
            (
                printable_name(entry.name),
                printable(entry.image),
                "no" if why_not else "yes",
                printable(entry.source),
                printable(entry.comment),
            )
            for entry, why_not in entries
        ],
    )
    for entry, why_not in entries:
        if why_not:
            click.echo(f"\n{printable_name(entry.name)}: {printable(why_not)}")


@command.command("show")
@click.argument("name")
@json_option
def show_provider(name: str, as_json: bool) -> None:
    """Properties and algorithms of the provider NAME."""
    provider = ncrypt.NCryptOpenStorageProvider(name)
    entry = next(entry for entry in process_router().registrations() if entry.name == name)
    properties = _properties(provider)
    algorithms = ncrypt.NCryptEnumAlgorithms(provider)
    ncrypt.NCryptFreeObject(provider)
    if as_json:
        known = [_algorithm_object(algorithm) for algorithm in algorithms]
        print_json({**asdict(entry), "properties": properties, "algorithms": known})
        return
    print_details(
        [
            ("Provider", printable_name(entry.name)),
            ("Comment", printable(entry.comment)),
            ("Image", printable(entry.image)),
            ("Registered by", printable(entry.source)),
            *((name, _shown(value)) for name, value in properties.items()),
        ]
    )
    heading("Algorithms")
    print_table(
        ("ALGORITHM", "CAN"),
        [
            (printable(known.pszName), ", ".join(_bits(known.dwAlgOperations, _OPERATIONS)))
            for known in algorithms
        ],
    )


def _why_not(entry: Registration) -> str:
    """Why a provider cannot be loaded; empty when it can."""
    try:
        ncrypt.NCryptFreeObject(ncrypt.NCryptOpenStorageProvider(entry.name))
    except NCryptError as error:
        return str(error)
    except Exception as error:  # a stranger's module may raise anything, and the list goes on
        return f"{type(error).__name__} while {entry.image} was loaded"
    return ""


def _algorithm_object(algorithm: ncrypt.NCryptAlgorithmName) -> dict[str, Any]:
    operations = _bits(algorithm.dwAlgOperations, _OPERATIONS)
    return {"name": algorithm.pszName, "operations": operations}


def _properties(provider: ncrypt.NCryptProvHandle) -> dict[str, Any]:
    """The properties that this provider has, by CNG's names."""
    found = {}
    for name, meaning in _MEANINGS.items():
        try:
            found[name] = meaning(ncrypt.NCryptGetProperty(provider, name))
        except (NCryptError, struct.error):
            continue  # it does not have this one
    return found


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else printable(str(value))


def _dword(value: bytes) -> int:
    return int(struct.unpack("<I", value)[0])


def _version(value: bytes) -> str:
    number = _dword(value)
    return f"{number >> 16}.{number & 0xFFFF}"


_IMPLEMENTATIONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        f.NCRYPT_IMPL_HARDWARE_FLAG: "hardware",
        f.NCRYPT_IMPL_SOFTWARE_FLAG: "software",
        f.NCRYPT_IMPL_REMOVABLE_FLAG: "removable",
        f.NCRYPT_IMPL_HARDWARE_RNG_FLAG: "hardware random numbers",
        f.NCRYPT_IMPL_VIRTUAL_ISOLATION_FLAG: "virtual isolation",
    }
)
_OPERATIONS: Final[Mapping[int, str]] = MappingProxyType(
    {
        f.NCRYPT_CIPHER_OPERATION: "encrypt",
        f.NCRYPT_HASH_OPERATION: "hash",
        f.NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION: "decrypt",
        f.NCRYPT_SECRET_AGREEMENT_OPERATION: "agree",
        f.NCRYPT_SIGNATURE_OPERATION: "sign",
        f.NCRYPT_RNG_OPERATION: "random numbers",
        f.NCRYPT_KEY_DERIVATION_OPERATION: "derive",
        f.NCRYPT_KEY_ENCAPSULATION_OPERATION: "encapsulate",
    }
)


def _bits(value: int, names: Mapping[int, str]) -> list[str]:
    return [name for bit, name in names.items() if value & bit]


_MEANINGS: Final[Mapping[str, Callable[[bytes], Any]]] = MappingProxyType(
    {
        NCRYPT_NAME_PROPERTY: lambda value: value.decode("utf-16-le", "replace").rstrip("\0"),
        NCRYPT_VERSION_PROPERTY: _version,
        NCRYPT_IMPL_TYPE_PROPERTY: lambda value: _bits(_dword(value), _IMPLEMENTATIONS),
        NCRYPT_MAX_NAME_LENGTH_PROPERTY: _dword,
    }
)
