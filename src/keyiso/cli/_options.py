"""Options that several commands have."""

import click

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


def wants_json(context: click.Context) -> bool:
    """The command that was run has been asked for JSON."""
    return bool(context.meta.get(_JSON))
