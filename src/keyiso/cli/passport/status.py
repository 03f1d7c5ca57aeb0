"""``keyiso passport status``."""

import os

import click

from keyiso.cli._options import json_option
from keyiso.cli._output import print_details, print_json
from keyiso.cli.passport._describe import container_object, container_rows
from keyiso.cli.passport._user import uid_named, user_option
from keyiso.client.binding import bind_process
from keyiso.client.passport import get_container
from keyiso.errors import NCryptError
from keyiso.status import Status


@click.command()
@user_option
@json_option
def command(user: str | None, as_json: bool) -> None:
    """What keeps the PIN, how many attempts are left, and whether it is locked.

    No PIN is needed.
    """
    try:
        state = get_container(bind_process(os.environ, service="passport"), uid_named(user))
    except NCryptError as error:
        if error.status != Status.NTE_NOT_FOUND:
            raise
        _print_nothing(as_json)
        return
    if as_json:
        print_json(container_object(state))
    else:
        print_details(container_rows(state))


def _print_nothing(as_json: bool) -> None:
    if as_json:
        print_json({"enrolled": False})
    else:
        click.echo("No PIN is set. See `keyiso passport enroll`.")
