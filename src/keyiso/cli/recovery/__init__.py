"""``keyiso recovery``: machine roots after the TPM is lost."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "keygen": Lazy("keyiso.cli.recovery.keygen", "Make a recovery key, on another machine."),
    "enroll": Lazy("keyiso.cli.recovery.enroll", "Make recovery copies of the machine roots."),
    "restore": Lazy("keyiso.cli.recovery.restore", "Restore the machine roots from their copies."),
    "answer": Lazy("keyiso.cli.recovery.answer", "Answer a restore, with the recovery key."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """Having the machine roots again when the TPM was cleared or replaced, or refuses.

    A recovery key is made on another machine and stays there. Here is only its public half, to
    which the roots are sealed. docs/tpm.md tells the steps.
    """
