"""``keyiso events enable``."""

import click

from keyiso.cli.events._select import channel_choice, level_choice
from keyiso.cli.events._switch import switch_channel
from keyiso.events.records import Level


@click.command()
@click.argument("channel", type=channel_choice)
@click.option(
    "--level",
    type=level_choice,
    default="information",
    show_default=True,
    help="The most detailed events to record.",
)
def command(channel: str, level: str) -> None:
    """Switch CHANNEL (Operational, KeyMgmt) on, at once and for good.

    That is itself an event. For root and who manages this keyiso.
    """
    switch_channel(channel, Level[level.upper()])
    click.echo(f"The channel {channel} records events up to the level {level}.")
