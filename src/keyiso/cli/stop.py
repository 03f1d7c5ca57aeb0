"""``keyiso stop``: ends an instance."""

import os

import click

from keyiso.cli._ending import end_instance
from keyiso.cli._output import printable
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import supervisor_status
from keyiso.paths import client_instance


@click.command()
@click.option("--system", is_flag=True, help="Also when it serves every user of this machine.")
def command(system: bool) -> None:
    """End your own keyiso: all its processes, and only them.

    Keys are kept. The next program that uses one starts keyiso again. Returns when everything
    has ended.
    """
    instance = client_instance(os.environ)
    status = supervisor_status(instance, trusted_uids())
    if status.system and not system:
        raise click.UsageError(
            "this keyiso serves every user of the machine; to end it all the same, use --system"
        )
    end_instance(instance, status.pid)
    click.echo(f"keyiso has ended; its keys stay in {printable(str(instance.state))}.")
