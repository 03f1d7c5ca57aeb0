"""The enrolment of an instance: whose it is, reading it, having a pair change it, storing it."""

import contextlib
import os
from collections.abc import Callable, Iterator

import click

from keyiso.backup.enrolment_file import read_enrolment_file
from keyiso.backup.files import new_file
from keyiso.backup.ownership import acting_as_owner, check_is_ours
from keyiso.cli._fingerprints import fingerprint_text
from keyiso.cli._output import printable
from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import replace_pairs, supervisor_status
from keyiso.config.required_shields import read_required_shields
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.paths import Instance, server_instance
from keyiso.required_shields import LATCHED
from keyiso.server.startup import harden_process
from keyiso.status import Status
from keyiso.supervisor.layout import take_lock
from keyiso.tpm.enrolment import Enrolment, UnsealMode, decode_enrolment, tpm_group
from keyiso.tpm.transport import DEVICE
from keyiso.trustlet.enrolling.messages import Job
from keyiso.trustlet.enrolling.start import Account, enrolled_by_pair
from keyiso.trustlet.enrolling.work import tpm_address

_ROOT_UID = 0

system_option = click.option(
    "--system", is_flag=True, help="The keyiso that serves every user of this machine."
)


def tpm_option(default: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Where the TPM is."""
    return click.option(
        "--tpm",
        metavar="ADDRESS",
        help="A device, or a TPM in software: unix:/PATH or tcp:127.0.0.1:PORT."
        f" [default: {default}]",
    )


DEFAULT_TPM = str(DEVICE)


def pcr_option(default: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """What the root is sealed to."""
    return click.option(
        "--pcr",
        "pcrs",
        multiple=True,
        type=click.IntRange(0, 15),
        metavar="N",
        help=f"Seal to this PCR as well, 0 to 15. May be given several times. [default: {default}]",
    )


def our_instance(*, system: bool) -> Instance:
    """The instance that is meant. Raises ``NTE_PERM`` for that of somebody else."""
    harden_process()
    instance = server_instance(os.environ, system=system)
    check_is_ours(instance)
    return instance


def existing_enrolment(instance: Instance) -> Enrolment:
    """The enrolment. Raises ``NTE_NOT_FOUND`` where there is none, and as `read_enrolment`."""
    enrolment = read_enrolment_file(instance)
    if enrolment is None:
        raise ncrypt_error(
            Status.NTE_NOT_FOUND,
            f"no TPM is enrolled in {instance.state}",
            "Enrol one with `keyiso tpm enroll`.",
        )
    return enrolment


def check_unseal_mode(instance: Instance, unseal: UnsealMode | None) -> None:
    """Raise `VbsUnavailableError` for what gives less than the instance requires of stored keys."""
    required = read_required_shields(instance.config)
    if unseal == "any-start" and LATCHED in required:
        raise required.lacking(
            LATCHED, "any-start would not give that", "Use `--unseal once-per-boot`"
        )


@contextlib.contextmanager
def changing(instance: Instance) -> Iterator[None]:
    """Nobody else changes the enrolment meanwhile. Raises ``NTE_PERM`` when somebody does."""
    with acting_as_owner(instance.vbs_trustlet):
        lock = take_lock(instance.vbs_trustlet / "enrolment.lock")
    if lock is None:
        raise ncrypt_error(
            Status.NTE_PERM,
            "another command is changing the enrolment at this moment",
            "Wait until it has ended.",
        )
    try:
        yield
    finally:
        os.close(lock)


def do_job(
    instance: Instance, job: Job, *, answer: Callable[[bytes], bytes] | None = None
) -> Enrolment:
    """Have an armed process do a job, and store the enrolment that comes of it.

    Raises as `enrolled_by_pair` does; then nothing was changed.
    """
    data = enrolled_by_pair(job, answer or _nobody_answers, _account(instance, tpm_address(job)))
    store(instance, data)
    return decode_enrolment(data)


def store(instance: Instance, data: bytes) -> None:
    """Put an enrolment in the place of that which is there, if any."""
    path = instance.vbs_enrolment
    with acting_as_owner(path.parent), new_file(path, replace=True) as file:
        file.write(data)


def take_up(instance: Instance, enrolment: Enrolment) -> None:
    """Have a running instance use the new enrolment, or say when it will."""
    with contextlib.suppress(NCryptError):  # it is not running
        if enrolment.unseal == "any-start":
            replace_pairs(instance, trusted_uids())
            return
        supervisor_status(instance, trusted_uids())
        click.echo(
            "keyiso is running, and uses this when it is started again; where it has got roots in"
            " this boot already, after a restart of the machine."
        )


def recovery_text(enrolment: Enrolment) -> str:
    """Who can open the recovery copies."""
    if not enrolment.recovery_key:
        return "NONE: without this TPM the keys are lost"
    return f"copies for the key {fingerprint_text(enrolment.recovery_key)}"


def where(instance: Instance) -> str:
    """The file of the enrolment."""
    return printable(str(instance.vbs_enrolment))


def _account(instance: Instance, address: str) -> Account | None:
    """The user of the trustlets, where this process is root and they are not."""
    owner = instance.vbs_trustlet.stat()
    if os.geteuid() != _ROOT_UID or owner.st_uid == _ROOT_UID:
        return None
    group = tpm_group(address)
    return Account(owner.st_uid, owner.st_gid, () if group is None else (group,))


def _nobody_answers(request: bytes) -> bytes:
    raise AssertionError("only a restore asks")
