"""``keyiso service stop``."""

import os

import click

from keyiso.cli._output import printable
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import stop_service
from keyiso.paths import client_instance


@click.command()
@click.argument("service")
def command(service: str) -> None:
    """End a service of keyiso, and do not start it again.

    What needs it waits, and fails at its deadline with an error that names it. It stays stopped
    until `keyiso service start`, or until the whole keyiso is started anew.
    """
    stop_service(client_instance(os.environ), trusted_uids(), service)
    click.echo(f"{printable(service)} is stopped.")
