"""``keyiso key delete``."""

import sys

import click

from keyiso.cli._options import json_option, machine_option
from keyiso.cli._output import print_json
from keyiso.keys import Key
from keyiso.names import printable_name


@click.command()
@click.argument("name")
@machine_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(name: str, machine: bool, yes: bool, as_json: bool) -> None:
    """Delete the key NAME for good, for every program that uses it.

    It asks first; where nobody can be asked, --yes is needed.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: use --yes to delete the key.")
    with Key.open(name, machine=machine) as key:
        if not yes:
            question = f"Delete the key '{printable_name(name)}' ({key.algorithm}) for good?"
            click.confirm(question, abort=True, err=True)
        key.delete()
    if as_json:
        print_json({"deleted": name})
    else:
        click.echo(f"Deleted the key '{printable_name(name)}'.")
