"""``keyiso recovery restore``."""

import sys

import click

from keyiso.cli._armour import ANSWER, REQUEST, armoured, read_armoured
from keyiso.cli._enrolments import (
    changing,
    do_job,
    existing_enrolment,
    our_instance,
    pcr_option,
    recovery_text,
    system_option,
    take_up,
    tpm_option,
)
from keyiso.cli._fingerprints import request_fingerprint
from keyiso.cli._output import print_details, printable
from keyiso.tpm.enrolment import encode_enrolment
from keyiso.tpm.latch import LATCH_PCR
from keyiso.trustlet.enrolling.messages import Restore


@click.command()
@tpm_option("the enrolled one's")
@pcr_option("those that the root was sealed to")
@system_option
def command(tpm: str | None, pcrs: tuple[int, ...], system: bool) -> None:
    """Have the machine roots opened by the recovery key, and kept by the TPM that is here now.

    It prints a request. Have it answered where the private recovery key is, with
    keyiso recovery answer, and give the answer to this command, which waits for it: paste it, or
    have the command's standard input bring it. The request is good for this run only.

    The roots go from there to an armed process here, and nobody in between can read them. But
    whoever is root here at this moment can put a request of his own in its place: be sure of the
    machine before you answer. From then on keys are sealed by a new root.
    """
    instance = our_instance(system=system)
    existing_enrolment(instance)
    with changing(instance):
        old = existing_enrolment(instance)
        sealed_to = pcrs or tuple(old.newest.sealed_root.pcrs.by_pcr)
        made = do_job(
            instance,
            Restore(encode_enrolment(old), tpm or old.tpm, tuple(sorted({LATCH_PCR, *sealed_to}))),
            answer=_have_answered,
        )
    print_details(
        [
            ("Enrolled", printable(made.tpm)),
            ("New root", made.newest.root_id.hex()),
            ("Restored", [root.root_id.hex() for root in made.roots[1:]]),
            ("Recovery", recovery_text(made)),
        ]
    )
    take_up(instance, made)


def _have_answered(request: bytes) -> bytes:
    click.echo(armoured(request, REQUEST), nl=False)
    click.echo(f"The request's fingerprint is {request_fingerprint(request)}", err=True)
    click.echo("Waiting for the answer.", err=True)
    return read_armoured(sys.stdin.buffer, ANSWER)
