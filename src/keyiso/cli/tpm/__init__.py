"""``keyiso tpm``: the TPM that keeps the machine roots."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "enroll": Lazy("keyiso.cli.tpm.enroll", "Have the TPM keep a machine root."),
    "status": Lazy("keyiso.cli.tpm.status", "What is enrolled, and whether the TPM opens it."),
    "rotate": Lazy("keyiso.cli.tpm.rotate", "Use a new machine root from now on."),
    "reseal": Lazy("keyiso.cli.tpm.reseal", "Seal stored keys by the newest machine root."),
    "retire": Lazy("keyiso.cli.tpm.retire", "Forget old machine roots that no key needs."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """The TPM, and the machine roots that it keeps.

    Stored keys of the level vbs are sealed by a machine root: a secret that is made inside an
    armed process and sealed to the TPM. No command prints one. docs/tpm.md says what the TPM is
    used for, and what to do when it is lost.
    """
