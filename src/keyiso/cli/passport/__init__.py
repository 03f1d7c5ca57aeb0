"""``keyiso passport``: the PIN of a user, and what it protects."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "enroll": Lazy("keyiso.cli.passport.enroll", "Set your first PIN."),
    "status": Lazy("keyiso.cli.passport.status", "What keeps the PIN, and whether it is locked."),
    "change-pin": Lazy("keyiso.cli.passport.change_pin", "Set another PIN. Keys are kept."),
    "reset": Lazy("keyiso.cli.passport.reset", "Set a PIN without the old one. Keys are lost."),
    "unlock": Lazy("keyiso.cli.passport.unlock", "Set a PIN without the old one. Keys are kept."),
    "answer": Lazy("keyiso.cli.passport.answer", "Answer an unlock, with the reset key."),
    "reset-key": Lazy("keyiso.cli.passport.reset_key", "Say who can answer an unlock."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def command() -> None:
    """The PIN of a user, and the container of keys that only this PIN opens.

    A PIN is asked for by pinentry, or on the terminal; it is never an argument. Wrong ones lock it
    for a while: the lock ends by itself, or with `unlock` for who has a reset key.
    docs/passport.md says what a PIN protects from.
    """
