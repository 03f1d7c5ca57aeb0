"""``keyiso restore``."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final

import click

from keyiso.backup.contents import Contents, read_contents
from keyiso.backup.ownership import check_is_ours
from keyiso.backup.plan import Plan, Present, RootStep, check_kind, look_at, plan_restore
from keyiso.backup.restoring import held, install, unsealed_root
from keyiso.backup.root_file import RootFile
from keyiso.cli._backups import (
    NEVER_RESTORED,
    counted,
    fates_object,
    key_object,
    manifest_object,
    origin,
    print_fates,
    print_keys,
    print_never_restored,
)
from keyiso.cli._options import json_option, service_users_options
from keyiso.cli._output import print_details, print_json, printable
from keyiso.cli._password import password_of
from keyiso.paths import Instance, server_instance
from keyiso.server.startup import harden_process


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Check FILE and say what would be done.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--replace-root",
    is_flag=True,
    help="Put the root of FILE in place of another one; its keys do not open any more.",
)
@click.option(
    "--password-file",
    type=click.File("rb"),
    help="A file whose first line is the password of FILE; without it, the terminal is asked.",
)
@click.option("--system", is_flag=True, help="The keyiso that serves every user of this machine.")
@service_users_options
@json_option
def command(
    file: BinaryIO,
    dry_run: bool,
    yes: bool,
    replace_root: bool,
    password_file: BinaryIO | None,
    system: bool,
    keyiso_user: str,
    trustlet_user: str,
    as_json: bool,
) -> None:
    """Bring the keys of the backup FILE back, in place of all that are here now.

    FILE is checked first, and it is said what comes back, what is lost and what will not open.
    What is here now is kept beside it. keyiso must not be running: end it with keyiso stop.

    It asks first; where nobody can be asked, --yes is needed.
    """
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("Nobody is asked here: use --yes to restore, or --dry-run.")
    harden_process()
    instance = server_instance(os.environ, system=system)
    check_is_ours(instance)
    with tempfile.TemporaryDirectory(prefix="keyiso-restore-") as directory:
        snapshot = Path(directory, "snapshot")
        contents = read_contents(file, snapshot)
        check_kind(contents, instance)
        with contextlib.nullcontext() if dry_run else held(instance):
            present = look_at(instance)
            plan = plan_restore(contents, present, instance, replace_root=replace_root)
            root = _root(contents, plan, password_file, dry_run)
            if not as_json:
                _print_plan(file, instance, contents, present, plan)
            kept: tuple[Path, ...] = ()
            if not dry_run:
                if not yes:
                    where = printable(str(instance.state))
                    click.confirm(f"Restore this into {where}?", abort=True, err=True)
                kept = install(
                    instance,
                    snapshot,
                    root,
                    plan.enrolment,
                    keyiso_user=keyiso_user,
                    trustlet_user=trustlet_user,
                )
    if as_json:
        print_json(_as_object(contents, plan, instance, kept, restored=not dry_run))
    elif dry_run:
        click.echo("Nothing was done.")
    else:
        _print_done(instance, kept)


def _root(
    contents: Contents, plan: Plan, password_file: BinaryIO | None, dry_run: bool
) -> RootFile | None:
    """The backup's root, where it is to be put in place. A dry run asks nobody for a password."""
    if plan.root not in (RootStep.INSTALL, RootStep.REPLACE):
        return None
    if dry_run and password_file is None:
        return None
    return unsealed_root(contents, password_of(password_file, "Password of the backup"))


_ROOTS: Final[Mapping[RootStep, str]] = MappingProxyType(
    {
        RootStep.NONE: "NEITHER IN THE BACKUP NOR HERE: no stored key can be opened or made",
        RootStep.KEEP: "not in the backup; the one that is here stays",
        RootStep.SAME: "the same in the backup and here",
        RootStep.INSTALL: "restored from the backup",
        RootStep.REPLACE: "restored from the backup IN PLACE OF THE ONE HERE, whose keys will not"
        " open any more",
    }
)


_ENROLMENT: Final = "restored from the backup; another TPM needs `keyiso recovery restore`"


def _print_plan(
    file: BinaryIO, instance: Instance, contents: Contents, present: Present, plan: Plan
) -> None:
    print_details(
        [
            ("Backup", printable(file.name)),
            ("Made", origin(contents.manifest)),
            ("Keys", counted(contents.manifest)),
            ("Goes to", printable(str(instance.state))),
            ("Machine root", _ROOTS[plan.root]),
            *([("Enrolment", _ENROLMENT)] if plan.enrolment else []),
        ]
    )
    click.echo()
    if present.store_trouble is not None:
        click.echo(
            "The keys that are here now cannot be read, and are kept as they are:"
            f" {printable(present.store_trouble.cause)}"
        )
    print_keys("Come back, as nothing here has their name", plan.returning)
    print_keys("Take the place of other keys of their name, which END", plan.replacing)
    print_keys("Are as they were, before they were changed", plan.changing)
    print_keys("END, as they are not in the backup", plan.ending)
    print_fates(plan.fates)
    print_never_restored()
    click.echo()


def _print_done(instance: Instance, kept: tuple[Path, ...]) -> None:
    click.echo(f"Restored into {printable(str(instance.state))}.")
    for path in kept:
        click.echo(f"What was there is kept as {printable(str(path))}.")
    if instance.system:
        click.echo("Start keyiso again with `keyiso serve --system`, or your init system.")
    else:
        click.echo("The next program that uses a key starts keyiso again.")


def _as_object(
    contents: Contents, plan: Plan, instance: Instance, kept: tuple[Path, ...], *, restored: bool
) -> dict[str, Any]:
    return {
        "restored": restored,
        "backup": manifest_object(contents.manifest),
        "store": str(instance.store),
        "root": plan.root.value,
        "enrolment": bool(plan.enrolment),
        "compared": plan.compared,
        "returning": [key_object(key) for key in plan.returning],
        "replacing": [key_object(key) for key in plan.replacing],
        "changing": [key_object(key) for key in plan.changing],
        "ending": [key_object(key) for key in plan.ending],
        "cannot_open": fates_object(plan.fates),
        "kept": [str(path) for path in kept],
        "never_restored": NEVER_RESTORED,
        "rollback": "not stopped",
    }
