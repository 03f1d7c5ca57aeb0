"""``keyiso tpm retire``."""

import sys

import click

from keyiso.backup.plan import look_at
from keyiso.backup.restoring import held
from keyiso.cli._enrolments import changing, existing_enrolment, our_instance, store, system_option
from keyiso.paths import Instance
from keyiso.tpm.enrolment import encode_enrolment, without_retired


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@system_option
def command(yes: bool, system: bool) -> None:
    """Forget the old machine roots that no stored key needs. keyiso must not be running.

    Backups may have keys that need them: those will not open any more.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("Nobody is asked here: use --yes.")
    instance = our_instance(system=system)
    existing_enrolment(instance)
    with held(instance), changing(instance):
        old = existing_enrolment(instance)
        new = without_retired(old, _needed(instance))
        ending = [root.root_id.hex() for root in old.roots if root not in new.roots]
        if not ending:
            click.echo("Every machine root is needed: nothing was done.")
            return
        click.echo("No stored key needs these machine roots:")
        for root_id in ending:
            click.echo(f"  {root_id}")
        if not yes:
            click.confirm("Forget them for good?", abort=True, err=True)
        store(instance, encode_enrolment(new))
    click.echo("They are forgotten.")


def _needed(instance: Instance) -> set[bytes]:
    """The roots that seal stored keys, by their id. Raises when that cannot be known."""
    present = look_at(instance)
    if present.store_trouble is not None:
        raise present.store_trouble
    return {key.root.root_id for key in present.keys.values() if key.root is not None}
