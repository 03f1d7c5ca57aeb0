"""``keyiso guest``: programs in a virtual machine, keys outside of it."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "relay": Lazy("keyiso.cli.guest.relay", "In the machine: let programs use the keys outside."),
    "serve": Lazy("keyiso.cli.guest.serve", "Outside: let a machine use this keyiso."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """Programs in a virtual machine that use keys which are kept outside of it.

    One command runs in the machine and one outside; a virtio-serial port connects them.
    docs/guest.md says how to set it up, and what it protects.
    """
