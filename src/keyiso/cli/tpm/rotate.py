"""``keyiso tpm rotate``."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from keyiso.backup.restoring import held
from keyiso.cli._enrolments import (
    changing,
    check_unseal_mode,
    do_job,
    existing_enrolment,
    our_instance,
    recovery_text,
    system_option,
    take_up,
)
from keyiso.cli._fingerprints import fingerprint_text
from keyiso.cli._output import print_details
from keyiso.cli._recovery_keys import read_public_key
from keyiso.paths import Instance
from keyiso.tpm.enrolment import Enrolment, UnsealMode, encode_enrolment
from keyiso.trustlet.enrolling.messages import Rotate


@click.command()
@click.option(
    "--recovery-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The public recovery key, or another one from now on.",
)
@click.option(
    "--unseal",
    type=click.Choice(["once-per-boot", "any-start"]),
    help="When the TPM gives the roots out from now on. [default: as before]",
)
@click.option("--no-recovery", is_flag=True, help="Keep no recovery copies any more.")
@system_option
def command(
    recovery_key: Path | None, unseal: UnsealMode | None, no_recovery: bool, system: bool
) -> None:
    """Seal keys by a new machine root from now on. The old roots still open their keys.

    Where roots have recovery copies, the recovery key has to be named again: what is in the file
    of the enrolment could have been changed by somebody.

    The TPM must open the roots that there are. With once-per-boot it does so only before keyiso
    has started in a boot.

    For another --unseal keyiso must not be running.
    """
    if recovery_key is not None and no_recovery:
        raise click.UsageError("Use --recovery-key or --no-recovery, not both.")
    public_key = b"" if recovery_key is None else read_public_key(recovery_key)
    instance = our_instance(system=system)
    old = existing_enrolment(instance)
    check_unseal_mode(instance, unseal)
    with _stopped(instance) if unseal not in (None, old.unseal) else changing(instance):
        old = existing_enrolment(instance)
        _check_recovery(old, bool(public_key) or no_recovery)
        made = do_job(instance, Rotate(encode_enrolment(old), public_key, unseal))
    print_details(
        [
            ("New root", made.newest.root_id.hex()),
            ("Old roots", [root.root_id.hex() for root in old.roots]),
            ("Unsealed", made.unseal),
            ("Recovery", recovery_text(made)),
        ]
    )
    take_up(instance, made)
    click.echo("keyiso tpm reseal has the stored keys sealed by the new root, once it is in use.")


@contextlib.contextmanager
def _stopped(instance: Instance) -> Iterator[None]:
    """Processes that have got roots in one manner do not give them in the other."""
    with held(instance), changing(instance):
        yield


def _check_recovery(enrolment: Enrolment, said: bool) -> None:
    if enrolment.recovery_key and not said:
        raise click.UsageError(
            "The roots have recovery copies: name the public key"
            f" {fingerprint_text(enrolment.recovery_key)} with --recovery-key, or use"
            " --no-recovery."
        )
