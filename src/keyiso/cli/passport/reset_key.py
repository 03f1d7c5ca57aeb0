"""``keyiso passport reset-key``."""

import os
from pathlib import Path

import click

from keyiso.cli._output import print_details
from keyiso.cli._pin_attempts import with_right_pin
from keyiso.cli._pins import pin_stdin_option, pins
from keyiso.cli._recovery_keys import read_public_key
from keyiso.cli.passport._describe import container_rows
from keyiso.client.binding import bind_process
from keyiso.client.passport_reset import set_reset_key
from keyiso.server.startup import harden_process


@click.command()
@click.argument(
    "file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--remove", is_flag=True, help="Take the reset key away, instead of setting one.")
@pin_stdin_option
def command(file: Path | None, remove: bool, pin_stdin: bool) -> None:
    """Say who can have your PIN set anew while keys are kept, with your PIN.

    FILE is a public recovery key, which keyiso recovery keygen makes. Whoever has its private half
    can answer when you run keyiso passport unlock, and with your rights or root's can set a PIN.
    """
    if (file is None) != remove:
        raise click.UsageError("Name the file of a public recovery key, or use --remove.")
    harden_process()
    reset_key = b"" if file is None else read_public_key(file)
    binding, source = bind_process(os.environ, service="passport"), pins(stdin=pin_stdin)
    state = with_right_pin(
        binding,
        source,
        "To set a reset key" if reset_key else "To remove the reset key",
        lambda pin, attempt_id: set_reset_key(binding, pin, reset_key, attempt_id=attempt_id),
    )
    print_details(container_rows(state))
