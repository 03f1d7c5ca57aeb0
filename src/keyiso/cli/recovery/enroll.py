"""``keyiso recovery enroll``."""

from pathlib import Path

import click

from keyiso.cli._enrolments import (
    changing,
    do_job,
    existing_enrolment,
    our_instance,
    recovery_text,
    system_option,
)
from keyiso.cli._output import print_details
from keyiso.cli._recovery_keys import read_public_key
from keyiso.tpm.enrolment import encode_enrolment
from keyiso.trustlet.enrolling.messages import AddRecovery


@click.command()
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The public recovery key.",
)
@system_option
def command(key: Path, system: bool) -> None:
    """Make recovery copies of all machine roots, in place of those that there are.

    The TPM must open the roots. With once-per-boot it does so only before keyiso has started in a
    boot.
    """
    public_key = read_public_key(key)
    instance = our_instance(system=system)
    existing_enrolment(instance)
    with changing(instance):
        old = existing_enrolment(instance)
        made = do_job(instance, AddRecovery(encode_enrolment(old), public_key))
    print_details(
        [
            ("Machine roots", [root.root_id.hex() for root in made.roots]),
            ("Recovery", recovery_text(made)),
        ]
    )
