"""The rules for PINs of an instance.

They stand in ``passport.toml``, in the first of the configuration directories that has one:

    [pin]
    minimum_length = 8
    history = 3

    [lock]
    attempts = 3
    backoff_seconds = [300, 3600]

The names are those of `PinPolicy` and `LockSchedule`; what is not there is as they have it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from keyiso.config.file import ConfigFile, read_config_file
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.crypto.pin_rules import PinRules
from keyiso.errors import NCryptError
from keyiso.status import Status

T = TypeVar("T", PinPolicy, LockSchedule)

FILE_NAME: Final = "passport.toml"


def read_pin_rules(directories: Iterable[Path]) -> PinRules:
    """The rules of the first directory that has some; the usual ones where none has.

    Raises ``NTE_INVALID_PARAMETER`` for a file that cannot be read, or says what cannot be.
    """
    file = read_config_file(directories, FILE_NAME, "docs/passport.md", ("pin", "lock"))
    if file is None:
        return PinRules()
    return PinRules(_made(file, "pin", PinPolicy()), _made(file, "lock", LockSchedule()))


def _made(file: ConfigFile, name: str, usual: T) -> T:
    """The usual values, with those of a table in their place."""
    fields = usual.__struct_fields__
    table = file.table(name, fields)
    try:
        return msgspec.convert(
            [table.get(field, getattr(usual, field)) for field in fields], type(usual)
        )
    except msgspec.ValidationError as error:
        raise file.wrong(str(error)) from None
    except NCryptError as error:
        if error.status != Status.NTE_INVALID_PARAMETER:
            raise
        raise file.wrong(f"{error.cause}. {error.action}") from None
