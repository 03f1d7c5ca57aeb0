"""``keyiso key delete``."""

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import click

from keyiso.cli._options import json_option, machine_option
from keyiso.cli._output import print_json, printable
from keyiso.cli.key._name import name_argument
from keyiso.client.binding import bind_process
from keyiso.errors import NCryptError
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.keys import Key
from keyiso.names import encode_name, printable_name
from keyiso.status import Status
from keyiso.wire.control import DeleteKey

_LOST: Final[Mapping[int, str]] = MappingProxyType(
    {
        Status.NTE_BAD_DATA: "damaged",
        Status.NTE_BAD_VER: "damaged",
        Status.NTE_VBS_CANNOT_DECRYPT_KEY: "lost",
    }
)
"""What opening a key gives that nobody can open any more, and what it is called. Whether it is
one, the KeyIso service finds out itself."""


@click.command()
@name_argument
@machine_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(name: str, machine: bool, yes: bool, as_json: bool) -> None:
    """Delete the key NAME for good, for every program that uses it.

    It asks first; where nobody can be asked, --yes is needed. A damaged key, or one of an
    earlier boot, which nothing else can be done with, is deleted as well.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: use --yes to delete the key.")
    try:
        key = Key.open(name, machine=machine)
    except NCryptError as error:
        if error.status not in _LOST:
            raise
        state = _LOST[error.status]
        click.echo(
            f"The key '{printable_name(name)}' is {state}: {printable(error.cause)}.", err=True
        )
        _confirm(f"the {state} key '{printable_name(name)}'", yes)
        _delete_by_name(name, machine)
        what, result = f"{state} key", {"deleted": name, state: True}
    else:
        with key:
            _confirm(f"the key '{printable_name(name)}' ({key.algorithm})", yes)
            key.delete()
        what, result = "key", {"deleted": name}
    if as_json:
        print_json(result)
    else:
        click.echo(f"Deleted the {what} '{printable_name(name)}'.")


def _confirm(what: str, yes: bool) -> None:
    if not yes:
        click.confirm(f"Delete {what} for good?", abort=True, err=True)


def _delete_by_name(name: str, machine: bool) -> None:
    """Without an id, no key is deleted that somebody can still open."""
    binding = bind_process(os.environ)
    binding.control(
        DeleteKey(
            binding.operation_id(),
            MS_KEY_STORAGE_PROVIDER,
            "machine" if machine else "user",
            encode_name(name),
            b"",
        )
    )
