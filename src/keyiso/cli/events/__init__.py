"""``keyiso events``: the event log."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "show": Lazy("keyiso.cli.events.show", "What has happened."),
    "follow": Lazy("keyiso.cli.events.follow", "What happens from now on."),
    "channels": Lazy("keyiso.cli.events.channels", "Which channels are on."),
    "enable": Lazy("keyiso.cli.events.enable", "Switch a channel on."),
    "disable": Lazy("keyiso.cli.events.disable", "Switch a channel off."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """Who created, deleted and used keys, and what failed.

    docs/events.md lists the events and what their fields mean.
    """
