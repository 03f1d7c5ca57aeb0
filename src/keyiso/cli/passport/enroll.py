"""``keyiso passport enroll``."""

import os

import click

from keyiso.cli._logon_key import make_logon_key
from keyiso.cli._output import print_details
from keyiso.cli._pins import pin_stdin_option, pins
from keyiso.cli.passport._describe import container_rows
from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import enrol_pin, get_container
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.dialogue import PinQuestion
from keyiso.server.startup import harden_process
from keyiso.status import Status


@click.command()
@pin_stdin_option
def command(pin_stdin: bool) -> None:
    """Set your first PIN. It makes your container, and a key in it for logons.

    A PIN has at least six characters, a digit among them, and is not simple. Take a longer one
    where no TPM counts wrong ones.
    """
    harden_process()
    binding = bind_process(os.environ, service="passport")
    _check_new(binding)
    question = PinQuestion(description="Your first PIN for keyiso", prompt="New PIN")
    with pins(stdin=pin_stdin).new(question) as pin:
        state = enrol_pin(binding, pin)
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
