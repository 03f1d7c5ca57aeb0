"""``keyiso tpm reseal``."""

import os
from typing import Any

import click

from keyiso.cli._enrolments import existing_enrolment, our_instance, system_option
from keyiso.cli._exit import ExitCode
from keyiso.cli._options import json_option
from keyiso.cli._output import print_details, print_json
from keyiso.cli._progress import working
from keyiso.client.binding import bind_process
from keyiso.client.resealing import reseal_keys
from keyiso.limits import PAIRS_REPLACED_SECONDS
from keyiso.names import decode_name, printable_name
from keyiso.status import status_name
from keyiso.store.schema import MACHINE
from keyiso.wire.control import NotResealed, ResealedKeys


@click.command()
@system_option
@json_option
@click.pass_context
def command(context: click.Context, system: bool, as_json: bool) -> None:
    """Seal all stored vbs keys by the newest machine root.

    After a rotation, or a recovery: the older roots are then needed by backups at most, and keyiso
    tpm retire can forget them. keyiso has to be running, and have got the newest root. Keys can be
    used all the while.

    A damaged key stays as it is, and is named; the exit code is then 1.

    Make a backup afterwards: copies of the enrolment from before the rotation do not open these
    keys.
    """
    instance = our_instance(system=system)
    enrolment = existing_enrolment(instance)
    newest = enrolment.newest.root_id
    binding = bind_process(os.environ, resolve=lambda: instance)
    # After a rotation they are replaced one by one, but not where they could get no roots again.
    patience = PAIRS_REPLACED_SECONDS if enrolment.unseal == "any-start" else 0.0
    with working("Sealing stored keys anew:"):
        parts = list(reseal_keys(binding, newest, patience=patience))
    failed = [key for part in parts for key in part.failed]
    if as_json:
        print_json(_as_object(newest, parts, failed))
    else:
        _print(newest, parts, failed)
    if failed:
        context.exit(ExitCode.FAILED)


def _print(newest: bytes, parts: list[ResealedKeys], failed: list[NotResealed]) -> None:
    rows = [
        ("Root", newest.hex()),
        ("Sealed anew", str(sum(part.resealed for part in parts))),
        ("Sealed by it before", str(sum(part.already for part in parts))),
    ]
    if failed:
        rows.append(("NOT sealed anew", str(len(failed))))
    print_details(rows)
    if any(part.resealed for part in parts):
        click.echo(
            "Make a backup: copies of the enrolment from before the rotation open none of these."
        )
    for key in failed:
        whose = "the machine's" if key.owner == MACHINE else f"of uid {key.owner}"
        name = printable_name(_name(key))
        click.echo(f"keyiso: '{name}', {whose}: {status_name(key.status)}", err=True)


def _as_object(
    newest: bytes, parts: list[ResealedKeys], failed: list[NotResealed]
) -> dict[str, Any]:
    return {
        "root": newest.hex(),
        "resealed": sum(part.resealed for part in parts),
        "already": sum(part.already for part in parts),
        "failed": [
            {
                "name": _name(key),
                "uid": None if key.owner == MACHINE else key.owner,
                "status": status_name(key.status),
            }
            for key in failed
        ],
    }


def _name(key: NotResealed) -> str:
    """Of a row that may be damaged."""
    return decode_name(key.name[: len(key.name) // 2 * 2])
