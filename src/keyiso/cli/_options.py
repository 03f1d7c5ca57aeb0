"""Options that several commands have."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_JSON = "keyiso.cli.json"


def _remember(context: click.Context, option: click.Parameter, wanted: bool) -> bool:
    # The dictionary is shared by the contexts of a command line: an error is told at its root.
    context.meta[_JSON] = wanted
    return wanted


json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    callback=_remember,
    help="Print one JSON object, for programs.",
)

machine_option = click.option(
    "--machine", is_flag=True, help="A key of the machine, not one of yours."
)


def service_users_options(command: F) -> F:
    """Who the services run as in a system instance that does not exist yet."""
    for option, user in (("--trustlet-user", "keyiso-trustlet"), ("--keyiso-user", "keyiso")):
        command = click.option(
            option,
            metavar="USER",
            default=user,
            help="As for `serve`; where nothing was ever served.",
        )(command)
    return command


def wants_json(context: click.Context) -> bool:
    """The command that was run has been asked for JSON."""
    return bool(context.meta.get(_JSON))
