"""``keyiso passport enroll``."""

import os
from pathlib import Path

import click

from keyiso.cli._logon_key import make_logon_key
from keyiso.cli._output import print_details
from keyiso.cli._pins import pin_stdin_option, pins
from keyiso.cli._recovery_keys import read_public_key
from keyiso.cli.passport._describe import container_rows
from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import enrol_pin, get_container
from keyiso.client.passport_reset import set_reset_key
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.dialogue import PinQuestion
from keyiso.server.startup import harden_process
from keyiso.status import Status


@click.command()
@click.option(
    "--reset-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A public recovery key: who has its private half can answer keyiso passport unlock.",
)
@pin_stdin_option
def command(reset_key: Path | None, pin_stdin: bool) -> None:
    """Set your first PIN. It makes your container, and a key in it for logons.

    A PIN has at least six characters, a digit among them, and is not simple. Take a longer one
    where no TPM counts wrong ones.
    """
    harden_process()
    public_key = b"" if reset_key is None else read_public_key(reset_key)
    binding = bind_process(os.environ, service="passport")
    _check_new(binding)
    question = PinQuestion(description="Your first PIN for keyiso", prompt="New PIN")
    with pins(stdin=pin_stdin).new(question) as pin:
        state = enrol_pin(binding, pin)
        if public_key:
            state = set_reset_key(binding, pin, public_key)
        make_logon_key(binding, pin)
    click.echo("The PIN is set.")
    print_details(container_rows(state))


def _check_new(binding: Binding) -> None:
    """Raises ``NTE_EXISTS`` before anybody is asked for a PIN."""
    try:
        get_container(binding)
    except NCryptError as error:
        if error.status != Status.NTE_NOT_FOUND:
            raise
        return
    raise ncrypt_error(
        Status.NTE_EXISTS,
        "you have a PIN",
        "Change it with `keyiso passport change-pin`; `keyiso passport reset` loses its keys.",
    )
