"""What is said about a key that was just made."""

import click

from keyiso.cli._output import print_details
from keyiso.cli._protection import protection_rows
from keyiso.keys import Key, Protection
from keyiso.names import printable_name


def tell_new_key(what_happened: str, key: Key, asked: Protection) -> None:
    """The key and its protection; visibly so, where less was given than was preferred."""
    name = printable_name(key.name or "")
    click.echo(f"{what_happened} the key '{name}' ({key.algorithm}, {key.length} bits).")
    report = key.protection
    if asked is Protection.PREFER_VBS and report.level == "software":
        click.echo("Isolation (vbs) was preferred, but this machine cannot give it.")
    print_details(protection_rows(report))
