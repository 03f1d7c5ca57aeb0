"""``keyiso tpm status``."""

from typing import Any

import click

from keyiso.backup.enrolment_file import read_enrolment_file
from keyiso.cli._enrolments import (
    our_instance,
    recovery_text,
    system_option,
    where,
)
from keyiso.cli._exit import error_object, exit_code, print_error
from keyiso.cli._fingerprints import fingerprint_text
from keyiso.cli._options import json_option
from keyiso.cli._output import print_details, print_json, printable
from keyiso.clock import SystemClock
from keyiso.errors import NCryptError
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.tpm.enrolment import Enrolment, open_tpm
from keyiso.tpm.sealed_root import check_root


@click.command()
@system_option
@json_option
@click.pass_context
def command(context: click.Context, system: bool, as_json: bool) -> None:
    """What is enrolled, and whether the TPM would open it now. Nothing is unsealed.

    "Latched" is what once-per-boot means: keyiso has the roots, and nobody else gets them in this
    boot.
    """
    instance = our_instance(system=system)
    enrolment = read_enrolment_file(instance)
    if enrolment is None:
        _print_nothing(instance, as_json)
        return
    error = _refusal(enrolment)
    latched = error is not None and error.status == Status.KEYISO_E_TPM_LATCHED
    if as_json:
        print_json(_as_object(instance, enrolment, error, latched))
    else:
        _print(instance, enrolment, error, latched)
    if error is not None and not latched:
        context.exit(exit_code(error))


def _refusal(enrolment: Enrolment) -> NCryptError | None:
    """Why the TPM would not open the newest root."""
    try:
        with open_tpm(enrolment.tpm, SystemClock()) as tpm:
            check_root(tpm, enrolment.newest.sealed_root)
    except NCryptError as error:
        return error
    return None


def _state(error: NCryptError | None, latched: bool) -> str:
    if error is None:
        return "open"
    return "latched" if latched else "refused"


def _pcrs(enrolment: Enrolment) -> list[int]:
    return sorted(enrolment.newest.sealed_root.pcrs.by_pcr)


def _print_nothing(instance: Instance, as_json: bool) -> None:
    if as_json:
        print_json({"enrolled": False, "file": str(instance.vbs_enrolment)})
    else:
        click.echo("No TPM is enrolled: there are no stored vbs keys. See `keyiso tpm enroll`.")


def _print(
    instance: Instance, enrolment: Enrolment, error: NCryptError | None, latched: bool
) -> None:
    states = {
        "open": "the TPM opens the root",
        "latched": "latched: the TPM opens nothing until the machine is restarted",
        "refused": "THE TPM DOES NOT OPEN THE ROOT",
    }
    print_details(
        [
            ("TPM", printable(enrolment.tpm)),
            ("State", states[_state(error, latched)]),
            ("Unsealed", enrolment.unseal),
            ("Sealed to", f"PCR {', '.join(map(str, _pcrs(enrolment)))}"),
            ("Machine roots", [root.root_id.hex() for root in enrolment.roots]),
            ("Recovery", recovery_text(enrolment)),
            ("Stored in", where(instance)),
        ]
    )
    if error is not None and not latched:
        print_error(error)


def _as_object(
    instance: Instance, enrolment: Enrolment, error: NCryptError | None, latched: bool
) -> dict[str, Any]:
    return {
        "enrolled": True,
        "file": str(instance.vbs_enrolment),
        "tpm": enrolment.tpm,
        "unseal": enrolment.unseal,
        "pcrs": _pcrs(enrolment),
        "roots": [root.root_id.hex() for root in enrolment.roots],
        "recovery_key": (
            fingerprint_text(enrolment.recovery_key) if enrolment.recovery_key else None
        ),
        "state": _state(error, latched),
        "problem": None if error is None or latched else error_object(error),
    }
