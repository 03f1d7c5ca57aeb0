"""``keyiso passport change-pin``."""

import os

import click

from keyiso.cli._logon_key import mend_logon_key
from keyiso.cli._pin_attempts import with_right_pin
from keyiso.cli._pins import pin_stdin_option, pins
from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import change_pin, try_pin
from keyiso.crypto.pin import Pin
from keyiso.errors import NCryptError
from keyiso.passport.dialogue import PinQuestion
from keyiso.server.startup import harden_process
from keyiso.status import Status


@click.command()
@pin_stdin_option
def command(pin_stdin: bool) -> None:
    """Set another PIN, with the old one. Keys are kept.

    With --pin-stdin the old PIN is the first line, and the new one the second. Where root has reset
    the PIN, a new key for logons is made.
    """
    harden_process()
    binding, source = bind_process(os.environ, service="passport"), pins(stdin=pin_stdin)

    def change(old: Pin, attempt_id: bytes) -> bool:
        _check(binding, old, attempt_id)
        with source.new(PinQuestion(description="Your new PIN", prompt="New PIN")) as new:
            change_pin(binding, old, new)
            return mend_logon_key(binding, new)

    mended = with_right_pin(binding, source, "The PIN that is to be changed", change)
    click.echo("The PIN is changed.")
    if mended:
        click.echo("A new key for logons is made.")


def _check(binding: Binding, old: Pin, attempt_id: bytes) -> None:
    """A wrong PIN is told before a new one is asked for; one that has expired is right."""
    try:
        try_pin(binding, old, attempt_id=attempt_id)
    except NCryptError as error:
        if error.status != Status.NTE_PASSWORD_CHANGE_REQUIRED:
            raise
