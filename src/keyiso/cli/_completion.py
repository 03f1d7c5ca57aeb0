"""Answering the scripts that ``keyiso completion`` prints."""

import os
import sys
from typing import Final

import click
from click.shell_completion import shell_complete

VARIABLE: Final = "_KEYISO_COMPLETE"
"""Where a script says what it wants to know, as click's scripts do."""


def complete(app: click.Command) -> int | None:
    """The exit code of an answer; None where no shell asks.

    Whatever goes wrong, nothing is said: it would come out in the middle of what is typed.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return None
    try:
        code = shell_complete(app, {}, "keyiso", VARIABLE, wanted)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt):
        return 1
    return code
