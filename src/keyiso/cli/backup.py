"""``keyiso backup``."""

import os
import time
from pathlib import Path
from typing import BinaryIO

import click

from keyiso.backup.creation import check_has_store, create_backup
from keyiso.backup.enrolment_file import read_enrolment_file
from keyiso.backup.fate import fates
from keyiso.backup.files import check_is_free, new_file
from keyiso.backup.root_file import RootFile, read_root_file
from keyiso.backup.sealed_root import check_password
from keyiso.cli._backups import (
    NEVER_RESTORED,
    counted,
    fates_object,
    manifest_object,
    print_fates,
    print_never_restored,
)
from keyiso.cli._options import json_option
from keyiso.cli._output import print_json, printable
from keyiso.cli._password import password_of
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.paths import Instance, server_instance
from keyiso.server.startup import harden_process
from keyiso.status import Status
from keyiso.tpm.enrolment import Enrolment


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--with-root",
    is_flag=True,
    help="Also the machine root, under a password. Whoever has both has the keys.",
)
@click.option(
    "--password-file",
    type=click.File("rb"),
    help="A file whose first line is the password; without it, the terminal is asked.",
)
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
@click.option("--system", is_flag=True, help="The keyiso that serves every user of this machine.")
@json_option
def command(
    file: Path,
    with_root: bool,
    password_file: BinaryIO | None,
    force: bool,
    system: bool,
    as_json: bool,
) -> None:
    """Write all keys, sealed, to the new FILE. keyiso may be running.

    Keys are sealed by the machine root, a secret that is not in FILE: FILE alone opens nothing,
    and can be restored only where that root still is.

    With --with-root it can be restored anywhere, also when this machine is lost. Then WHOEVER HAS
    FILE AND ITS PASSWORD HAS THE KEYS, and nothing notices it.

    Only your own keyiso is read, or the system's by root with --system.
    """
    if password_file is not None and not with_root:
        raise click.UsageError("--password-file goes with --with-root.")
    harden_process()
    instance = server_instance(os.environ, system=system)
    check_has_store(instance)
    _check_is_free(file, force)
    root = _root(instance)
    enrolment = _enrolment(instance)
    password = b""
    if with_root:
        if root is None:
            raise _no_root(instance)
        password = password_of(password_file, "New password of the backup", new=True)
        check_password(password)
    with new_file(file, replace=force) as opened:
        contents = create_backup(
            instance,
            opened,
            root=root if with_root else None,
            password=password,
            enrolment=enrolment,
            now=time.time(),
        )
    owner = None if instance.system else os.geteuid()
    unusual = fates(
        contents.keys,
        None if root is None else root.root_id,
        owner,
        () if enrolment is None else [one.root_id for one in enrolment.roots],
    )
    if as_json:
        print_json(
            {
                "file": str(file),
                "bytes": file.stat().st_size,
                "backup": manifest_object(contents.manifest),
                "cannot_open": fates_object(unusual),
                "never_restored": NEVER_RESTORED,
                "rollback": "not stopped",
            }
        )
        return
    click.echo(f"Wrote {printable(str(file))}. Sealed keys: {counted(contents.manifest)}.")
    if with_root:
        click.secho(
            "It has the machine root: WHOEVER HAS THIS FILE AND ITS PASSWORD HAS THE KEYS.",
            bold=True,
        )
        click.echo("Keep the password elsewhere. Without it the file opens no key, on any machine.")
    else:
        click.echo(
            "The machine root that opens them is not in it: it can be restored only where that"
            f" root still is, which is {printable(str(instance.software_machine_root))} now."
        )
    print_fates(unusual)
    print_never_restored()


def _check_is_free(file: Path, force: bool) -> None:
    try:
        check_is_free(file, replace=force)
    except FileExistsError:
        how = "it is not an ordinary file" if force else "--force replaces it"
        raise click.UsageError(f"FILE exists; {how}.") from None


def _root(instance: Instance) -> RootFile | None:
    """A damaged root opens nothing, as one that is not there."""
    try:
        return read_root_file(instance)
    except NCryptError:
        return None


def _enrolment(instance: Instance) -> Enrolment | None:
    """The same of the roots that a TPM keeps."""
    try:
        return read_enrolment_file(instance)
    except NCryptError:
        return None


def _no_root(instance: Instance) -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_ROOT_MISSING,
        f"{instance.software_machine_root} is not there, or damaged",
        "Make the backup without --with-root.",
    )
