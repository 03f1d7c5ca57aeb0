"""``keyiso tpm enroll``."""

from pathlib import Path

import click

from keyiso.backup.enrolment_file import read_enrolment_file
from keyiso.backup.ownership import service_users
from keyiso.cli._enrolments import (
    DEFAULT_TPM,
    changing,
    check_unseal_mode,
    do_job,
    our_instance,
    pcr_option,
    recovery_text,
    system_option,
    take_up,
    tpm_option,
    where,
)
from keyiso.cli._options import service_users_options
from keyiso.cli._output import print_details, printable
from keyiso.cli._recovery_keys import read_public_key
from keyiso.errors import ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.supervisor.layout import make_directories, make_state
from keyiso.tpm.enrolment import UnsealMode
from keyiso.tpm.latch import LATCH_PCR
from keyiso.trustlet.enrolling.messages import Enrol


@click.command()
@tpm_option(DEFAULT_TPM)
@click.option(
    "--unseal",
    type=click.Choice(["once-per-boot", "any-start"]),
    help="When the TPM gives the root out. [default: once-per-boot with --system]",
)
@pcr_option("none")
@click.option(
    "--recovery-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A public recovery key, made elsewhere: it can restore the root.",
)
@system_option
@service_users_options
def command(
    tpm: str | None,
    unseal: UnsealMode | None,
    pcrs: tuple[int, ...],
    recovery_key: Path | None,
    system: bool,
    keyiso_user: str,
    trustlet_user: str,
) -> None:
    """Make a machine root, and have the TPM keep it. Stored vbs keys need one.

    The root is made inside an armed process and leaves it only sealed: to this TPM, to the values
    that its PCRs have now, and to the recovery key if one is given.

    WITHOUT A RECOVERY KEY all stored vbs keys are lost with the TPM, when it is cleared, and when
    a PCR of --pcr changes. Make one on another machine: keyiso recovery keygen FILE

    With once-per-boot no process gets the root after keyiso has started in a boot, not even root's.
    """
    public_key = b"" if recovery_key is None else read_public_key(recovery_key)
    instance = our_instance(system=system)
    unseal = unseal or ("once-per-boot" if instance.system else "any-start")
    check_unseal_mode(instance, unseal)
    _make_directories(instance, keyiso_user, trustlet_user)
    with changing(instance):
        _check_is_new(instance)
        made = do_job(
            instance,
            Enrol(
                tpm or DEFAULT_TPM,
                unseal,
                tuple(sorted({LATCH_PCR, *pcrs})),
                public_key,
            ),
        )
    print_details(
        [
            ("Enrolled", printable(made.tpm)),
            ("Machine root", made.newest.root_id.hex()),
            ("Unsealed", made.unseal),
            ("Recovery", recovery_text(made)),
            ("Stored in", where(instance)),
        ]
    )
    click.echo(
        "The file is not secret, and the TPM opens nothing without it: `keyiso backup` has it."
    )
    take_up(instance, made)


def _make_directories(instance: Instance, keyiso_user: str, trustlet_user: str) -> None:
    if not instance.vbs_trustlet.exists():
        users = service_users(instance, keyiso_user, trustlet_user)
        make_state(instance)
        make_directories(instance, *users)


def _check_is_new(instance: Instance) -> None:
    if read_enrolment_file(instance) is not None:
        raise ncrypt_error(
            Status.NTE_EXISTS,
            f"a TPM is enrolled already, in {where(instance)}",
            "`keyiso tpm rotate` makes a new root, and `keyiso recovery restore` moves the roots to"
            " another TPM. To do without its keys, move the file away first.",
        )
