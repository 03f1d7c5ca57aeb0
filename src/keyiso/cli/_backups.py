"""Backups and their keys, in words and for programs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import click

from keyiso.backup.fate import Fate
from keyiso.backup.holdings import HeldKey
from keyiso.backup.machine import machine_hash
from keyiso.backup.manifest import Manifest
from keyiso.cli._output import printable
from keyiso.store.schema import MACHINE

NEVER_RESTORED: Final = (
    "ephemeral keys: they end with the program that made them",
    "per-boot keys: they open only in the boot that they were made in",
    "keys that are made after a backup, and what is changed after it",
)
ROLLBACK: Final = (
    "A restore turns time back (rollback: not stopped): keys of the backup that were deleted since"
    " live again, and take the place of those that have replaced them."
)

_SHOWN_KEYS: Final = 20
"""In a list for people; programs get them all."""


def manifest_object(manifest: Manifest) -> dict[str, Any]:
    """What a backup is, for programs."""
    holdings, root = manifest.holdings, manifest.root
    return {
        "created": manifest.created,
        "keyiso_version": manifest.keyiso_version,
        "system": manifest.system,
        "this_machine": made_here(manifest),
        "schema_version": manifest.schema_version,
        "user_keys": holdings.user_keys,
        "machine_keys": holdings.machine_keys,
        "damaged_keys": holdings.damaged_keys,
        "roots": [
            {
                "id": need.root.root_id.hex(),
                "level": need.root.level,
                "kind": need.root.kind,
                "keys": need.keys,
                "in_backup": root is not None and root.root_id == need.root.root_id,
            }
            for need in holdings.roots
        ],
        "has_root": root is not None,
        "has_enrolment": bool(manifest.enrolment),
    }


def made_here(manifest: Manifest) -> bool | None:
    """The backup is of this machine; None where that cannot be told."""
    here = machine_hash()
    return manifest.machine == here if manifest.machine and here else None


def key_object(key: HeldKey) -> dict[str, Any]:
    """A key for programs; one without a name cannot be asked for."""
    machine = key.partition == MACHINE
    return {
        "name": key.name,
        "machine": machine,
        "uid": None if machine else key.partition,
        "provider": key.provider,
    }


def fates_object(fates: Mapping[Fate, Sequence[HeldKey]]) -> dict[str, Any]:
    """The keys that do not simply open."""
    return {
        fate.name.lower(): [key_object(key) for key in keys]
        for fate, keys in fates.items()
        if fate is not Fate.OPENS
    }


def counted(manifest: Manifest) -> str:
    """How many keys there are, and of whom."""
    holdings = manifest.holdings
    return f"{holdings.user_keys} of users, {holdings.machine_keys} of the machine"


def origin(manifest: Manifest) -> str:
    """When, by what and where a backup was made."""
    when = datetime.fromtimestamp(manifest.created).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    where = {True: ", on this machine", False: ", on another machine", None: ""}
    return f"{when}, by keyiso {printable(manifest.keyiso_version)}{where[made_here(manifest)]}"


def print_keys(title: str, keys: Sequence[HeldKey]) -> None:
    """A list with its title and how long it is; nothing for no keys."""
    if keys:
        click.echo(f"{title} ({len(keys)}):")
    for key in keys[:_SHOWN_KEYS]:
        click.echo(f"  {key}")
    if len(keys) > _SHOWN_KEYS:
        click.echo(f"  and {len(keys) - _SHOWN_KEYS} more; --json names them all")


def print_fates(fates: Mapping[Fate, Sequence[HeldKey]]) -> None:
    """The keys that do not simply open."""
    for fate, keys in fates.items():
        if fate is not Fate.OPENS:
            print_keys(fate.value, keys)


def print_never_restored() -> None:
    """What no backup has."""
    click.echo("In no backup:")
    for kind in NEVER_RESTORED:
        click.echo(f"  {kind}")
    click.echo(ROLLBACK)
