"""Whose container is meant."""

import pwd

import click

user_option = click.option(
    "--user", metavar="NAME", help="Of this user instead of your own; for root."
)


def uid_named(name: str | None) -> int | None:
    """The uid of the user who is named; None for nobody."""
    if name is None:
        return None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise click.UsageError("There is no user of that name.") from None
