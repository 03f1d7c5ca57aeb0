"""``keyiso service stop``."""

import os
import select

import click

from keyiso.cli._output import printable
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import stop_service, supervisor_status
from keyiso.paths import Instance, client_instance

_PATIENCE_SECONDS = 10.0


@click.command()
@click.argument("service")
def command(service: str) -> None:
    """End a service of keyiso, and do not start it again.

    What needs it waits, and fails at its deadline with an error that names it. It stays stopped
    until `keyiso service start`, or until the whole keyiso is started anew.
    """
    instance = client_instance(os.environ)
    ending = _descriptor_of(instance, service)
    stop_service(instance, trusted_uids(), service)
    if ending is None or select.select([ending], [], [], _PATIENCE_SECONDS)[0]:
        click.echo(f"{printable(service)} is stopped.")
    else:
        click.echo(f"{printable(service)} was asked to end, and has not ended yet.")


def _descriptor_of(instance: Instance, service: str) -> int | None:
    """Of a running service's process; it closes with this one."""
    for entry in supervisor_status(instance, trusted_uids()).processes:
        if entry.service == service and entry.pid:
            try:
                return os.pidfd_open(entry.pid)
            except ProcessLookupError:
                return None
    return None
