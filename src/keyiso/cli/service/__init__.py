"""``keyiso service``: one service of an instance."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "stop": Lazy("keyiso.cli.service.stop", "End a service, and do not start it again."),
    "start": Lazy("keyiso.cli.service.start", "Start a service that was stopped."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """The services of a keyiso, one by one. `keyiso status` lists them.

    A service that ends by itself is started again at once, and nobody need do anything. These
    commands are for a keyiso that `keyiso serve` runs, or that was started in the background.
    """
