"""``keyiso service start``."""

import os

import click

from keyiso.cli._output import printable
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import start_service
from keyiso.paths import client_instance


@click.command()
@click.argument("service")
def command(service: str) -> None:
    """Start a service of keyiso that was stopped."""
    start_service(client_instance(os.environ), trusted_uids(), service)
    click.echo(f"{printable(service)} is being started.")
