"""``keyiso passport unlock``."""

import os
from typing import BinaryIO

import click

from keyiso.cli._armour import PASSPORT_ANSWER, PASSPORT_REQUEST, armoured, read_armoured
from keyiso.cli._fingerprints import request_fingerprint
from keyiso.cli._output import printable
from keyiso.cli._pins import pin_stdin_option, pins
from keyiso.cli.passport._user import uid_named, user_option
from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import get_container
from keyiso.client.passport_reset import request_reset, unlock_pin
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.passport.dialogue import PinQuestion
from keyiso.server.startup import harden_process
from keyiso.status import Status
from keyiso.wire.passport import ContainerState


@click.command()
@click.option(
    "--answer",
    type=click.File("rb"),
    help="The answer to the request that this command printed.",
)
@user_option
@pin_stdin_option
def command(answer: BinaryIO | None, user: str | None, pin_stdin: bool) -> None:
    """Set a PIN without the old one, and keep the keys. A lock ends.

    It takes a container that was given a reset key. First this prints a request. Have it answered
    with keyiso passport answer where the private reset key is, and run this again with the
    --answer. It is good once, and only for the last request.
    """
    if answer is not None and pin_stdin and answer.name == "<stdin>":
        raise click.UsageError("Standard input brings the PIN or the answer, not both.")
    harden_process()
    binding, owner = bind_process(os.environ, service="passport"), uid_named(user)
    if answer is None:
        _print_request(binding, owner)
        return
    answered = read_armoured(answer, PASSPORT_ANSWER)
    whose = "your PIN" if user is None else f"the PIN of {printable(user)}"
    asked = PinQuestion(description=f"To set {whose} anew", prompt="New PIN")
    with pins(stdin=pin_stdin).new(asked) as pin:
        unlock_pin(binding, pin, answered, owner)
    click.echo("The PIN is set. The keys of the container are kept.")


def _print_request(binding: Binding, owner: int | None) -> None:
    try:
        request = request_reset(binding, owner)
    except NCryptError as error:
        if error.status != Status.NTE_NOT_SUPPORTED:
            raise
        raise _no_reset_key(get_container(binding, owner)) from None
    click.echo(armoured(request, PASSPORT_REQUEST), nl=False)
    click.echo(f"The request's fingerprint is {request_fingerprint(request)}", err=True)


def _no_reset_key(state: ContainerState) -> NCryptError:
    wait = f"Try again in {state.locked_seconds} seconds. " if state.locked_seconds else ""
    return ncrypt_error(
        Status.NTE_NOT_SUPPORTED,
        "the container has no reset key, and without its PIN nobody can keep its keys",
        f"{wait}Who has forgotten the PIN can use `keyiso passport reset`, which loses the keys.",
    )
