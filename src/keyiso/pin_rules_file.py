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

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from keyiso import limits
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.crypto.pin_rules import PinRules
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

T = TypeVar("T", PinPolicy, LockSchedule)

FILE_NAME: Final = "passport.toml"


def read_pin_rules(directories: Iterable[Path]) -> PinRules:
    """The rules of the first directory that has some; the usual ones where none has.

    Raises ``NTE_INVALID_PARAMETER`` for a file that cannot be read, or says what cannot be.
    """
    for directory in directories:
        path = directory / FILE_NAME
        try:
            with path.open("rb") as file:
                data = file.read(limits.PIN_RULES_BYTES + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _wrong(path, error.strerror or "cannot be read") from None
        return _rules(path, data)
    return PinRules()


def _rules(path: Path, data: bytes) -> PinRules:
    if len(data) > limits.PIN_RULES_BYTES:
        raise _wrong(path, f"is longer than PIN_RULES_BYTES ({limits.PIN_RULES_BYTES})")
    try:
        tables: dict[str, Any] = tomllib.loads(data.decode())
        if unknown := tables.keys() - {"pin", "lock"}:
            raise _wrong(path, f"has '{min(unknown)}', and can have [pin] and [lock]")
        return PinRules(
            _made(tables.get("pin", {}), PinPolicy()), _made(tables.get("lock", {}), LockSchedule())
        )
    except (ValueError, RecursionError) as error:  # msgspec's and TOML's own are ValueErrors
        raise _wrong(path, str(error)) from None
    except NCryptError as error:
        if error.status != Status.NTE_INVALID_PARAMETER or str(path) in error.cause:
            raise
        raise _wrong(path, f"{error.cause}. {error.action}") from None


def _made(table: Any, usual: T) -> T:
    """The usual values, with those of a table in their place."""
    if not isinstance(table, dict):
        raise ValueError("[pin] and [lock] are tables")
    fields = usual.__struct_fields__
    if unknown := table.keys() - set(fields):
        raise ValueError(f"'{min(unknown)}' is none of {', '.join(fields)}")
    values = [table.get(field, getattr(usual, field)) for field in fields]
    return msgspec.convert(values, type(usual))


def _wrong(path: Path, why: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER,
        f"{path}: {why}",
        "docs/passport.md lists what the file can have.",
    )
