"""``keyiso events disable``."""

import click

from keyiso.cli.events._select import channel_choice
from keyiso.cli.events._switch import switch_channel


@click.command()
@click.argument("channel", type=channel_choice)
def command(channel: str) -> None:
    """Switch CHANNEL (Operational, KeyMgmt) off, at once and for good.

    That is itself an event, which is always recorded. For root and who manages this keyiso.
    """
    switch_channel(channel, None)
    click.echo(f"The channel {channel} is off.")
