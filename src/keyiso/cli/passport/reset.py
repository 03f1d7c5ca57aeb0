"""``keyiso passport reset``."""

import os
import sys

import click

from keyiso.cli._logon_key import make_logon_key
from keyiso.cli._output import printable
from keyiso.cli._pins import pin_stdin_option, pins
from keyiso.cli.passport._user import uid_named, user_option
from keyiso.client.binding import bind_process
from keyiso.client.passport import get_container, reset_pin
from keyiso.passport.dialogue import PinQuestion
from keyiso.server.startup import harden_process


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask whether the keys may be lost.")
@user_option
@pin_stdin_option
def command(yes: bool, user: str | None, pin_stdin: bool) -> None:
    """Set a PIN without the old one. All keys of the container are lost for good.

    It asks first; where nobody can be asked, --yes is needed. Root resets the PIN of a --user, who
    has a key for logons again after `keyiso passport change-pin`.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here: use --yes to lose the keys.")
    harden_process()
    binding, owner = bind_process(os.environ, service="passport"), uid_named(user)
    get_container(binding, owner)
    whose = "your PIN" if user is None else f"the PIN of {printable(user)}"
    if not yes:
        question = f"Reset {whose}? All keys that it protects are lost for good."
        click.confirm(question, abort=True, err=True)
    asked = PinQuestion(description=f"To reset {whose}", prompt="New PIN")
    with pins(stdin=pin_stdin).new(asked) as pin:
        reset_pin(binding, pin, owner)
        if owner in (None, os.geteuid()):
            make_logon_key(binding, pin)
    click.echo("The PIN is reset. The keys of the old container are lost.")
