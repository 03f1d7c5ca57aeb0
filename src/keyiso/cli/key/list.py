"""``keyiso key list``."""

import click

from keyiso.cli._options import json_option, machine_option
from keyiso.cli._output import print_json, print_table, printable
from keyiso.keys import Provider
from keyiso.names import printable_name


@click.command()
@machine_option
@json_option
def command(machine: bool, as_json: bool) -> None:
    """The keys that you may use: names and algorithms.

    What could steer a terminal is shown escaped, as in \\x1b; --json has the exact names.
    """
    with Provider() as provider:
        keys = [(key.pszName, key.pszAlgid) for key in provider.keys(machine=machine)]
    if as_json:
        print_json({"keys": [{"name": name, "algorithm": algid or None} for name, algid in keys]})
    elif keys:
        # The store names no algorithm for a key whose record is damaged.
        print_table(
            ("NAME", "ALGORITHM"),
            [(printable_name(name), printable(algid) or "(damaged)") for name, algid in keys],
        )
    else:
        whose = "The machine has" if machine else "You have"
        click.echo(f"{whose} no keys. Make one with: keyiso key create NAME --algorithm ECDSA_P256")
