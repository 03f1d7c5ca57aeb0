"""``keyiso events channels``."""

import click

from keyiso.cli._options import json_option
from keyiso.cli._output import print_json, print_table, printable
from keyiso.cli.events._switch import event_channels
from keyiso.events.channels import level_word


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Which channels are on, and how detailed they are.

    For root and who manages this keyiso.
    """
    levels = [(channel.name, level_word(channel.level)) for channel in event_channels().channels]
    if as_json:
        print_json({"channels": [{"name": name, "level": level} for name, level in levels]})
        return
    print_table(("CHANNEL", "LEVEL"), [(printable(name), level) for name, level in levels])
