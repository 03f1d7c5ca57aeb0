"""``keyiso key delete``."""

import os
import sys
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
from keyiso.wire.operations import DeleteKey

_DAMAGED: Final = frozenset({Status.NTE_BAD_DATA, Status.NTE_BAD_VER})
"""What opening a damaged key gives. Whether it is one, the KeyIso service finds out itself."""


@click.command()
@name_argument
@machine_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(name: str, machine: bool, yes: bool, as_json: bool) -> None:
    """Delete the key NAME for good, for every program that uses it.

    It asks first; where nobody can be asked, --yes is needed. A damaged key, which nothing else
    can be done with, is deleted as well.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: use --yes to delete the key.")
    try:
        key = Key.open(name, machine=machine)
    except NCryptError as error:
        if error.status not in _DAMAGED:
            raise
        click.echo(
            f"The key '{printable_name(name)}' is damaged: {printable(error.cause)}.", err=True
        )
        _confirm(f"the damaged key '{printable_name(name)}'", yes)
        _delete_damaged(name, machine)
        what, result = "damaged key", {"deleted": name, "damaged": True}
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


def _delete_damaged(name: str, machine: bool) -> None:
    """By its name alone: without an id no other key than a damaged one is deleted."""
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
