"""The machine root of `vbs`, which the TPM keeps: whether there is one, and who gets it."""

import contextlib
from typing import Final

from keyiso.backup.enrolment_file import read_enrolment_file
from keyiso.clock import Clock
from keyiso.doctor.finding import Finding, Question, answers
from keyiso.errors import NCryptError
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.tpm.enrolment import open_tpm
from keyiso.tpm.sealed_root import check_root
from keyiso.tpm.transport import DEVICE
from keyiso.wire.results import Isolation

MACHINE_ROOT: Final = Question(
    "machine-root",
    "Armed workers get the root that the TPM keeps, which seals persisted keys.",
    "Persisted keys of level `vbs` cannot be made or used, as far as is known.",
    "See `keyiso tpm status`.",
)

_ENROL: Final = "Run `keyiso tpm enroll`, once."
_RESTART: Final = "They are replaced one by one: ask again. If that does not help: `keyiso stop`."
_UNCERTAIN: Final = (Status.NTE_PERM, Status.NTE_DEVICE_NOT_READY, Status.KEYISO_E_TPM_LATCHED)
"""Errors of a TPM that say nothing of who has the root already, or of who may ask."""


def tpm_address(instance: Instance) -> str:
    """The TPM that was enrolled; where none was, or it cannot be known, the machine's own."""
    try:
        enrolment = read_enrolment_file(instance)
    except (NCryptError, OSError):
        enrolment = None
    return enrolment.tpm if enrolment else str(DEVICE)


@answers(MACHINE_ROOT)
def machine_root(instance: Instance, isolation: Isolation | None, clock: Clock) -> Finding:
    """By the word of armed workers where they serve, else by asking the TPM. Nothing is unsealed.

    Only root and the instance's own user can look what was enrolled.
    """
    if isolation is not None and isolation.state == "armed":
        return _told(instance, isolation)
    try:
        enrolment = read_enrolment_file(instance)
        if enrolment is None:
            return MACHINE_ROOT.no(f"there is no {instance.vbs_enrolment}", _ENROL)
        with open_tpm(enrolment.tpm, clock) as tpm:
            check_root(tpm, enrolment.newest.sealed_root)
    except NCryptError as error:
        answer = MACHINE_ROOT.unknown if error.status in _UNCERTAIN else MACHINE_ROOT.no
        return answer(error.cause, error.action)
    return MACHINE_ROOT.yes(f"the TPM at {enrolment.tpm} would open it")


def _told(instance: Instance, isolation: Isolation) -> Finding:
    if isolation.machine_root == "present":
        return MACHINE_ROOT.yes("the armed workers have it")
    if isolation.root_cause:
        return MACHINE_ROOT.no(isolation.root_cause, isolation.root_action)
    with contextlib.suppress(NCryptError, OSError):
        if read_enrolment_file(instance) is not None:
            return MACHINE_ROOT.no("it was enrolled after the armed workers started", _RESTART)
    return MACHINE_ROOT.no("the armed workers have none", _ENROL)
