"""Configuration files of an instance: TOML, written by an administrator."""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """What one says, or what an empty one would say."""

    path: Path
    page: str
    """The page of the documentation that lists what it can have."""
    tables: Mapping[str, Any]

    def table(self, name: str, known: Collection[str]) -> Mapping[str, Any]:
        """One of its tables, empty if it is not there.

        Raises ``NTE_INVALID_PARAMETER`` when it is none, or has what is not known.
        """
        table = self.tables.get(name, {})
        if not isinstance(table, dict):
            raise self.wrong(f"[{name}] is a table")
        if unknown := table.keys() - set(known):
            raise self.wrong(f"'{min(unknown)}' is none of {', '.join(known)}")
        return table

    def wrong(self, why: str) -> NCryptError:
        """What is raised about something that it says."""
        return _wrong(self.path, self.page, why)


def read_config_file(
    directories: Iterable[Path], name: str, page: str, tables: Collection[str]
) -> ConfigFile | None:
    """The file of that name of the first directory that has one, which may have these tables.

    Raises ``NTE_INVALID_PARAMETER`` for a file that cannot be read, or has anything else.
    """
    for directory in directories:
        path = directory / name
        try:
            with path.open("rb") as file:
                data = file.read(limits.CONFIG_BYTES + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _wrong(path, page, error.strerror or "cannot be read") from None
        return ConfigFile(path, page, _parsed(path, page, data, tables))
    return None


def _parsed(path: Path, page: str, data: bytes, known: Collection[str]) -> Mapping[str, Any]:
    if len(data) > limits.CONFIG_BYTES:
        raise _wrong(path, page, f"is longer than CONFIG_BYTES ({limits.CONFIG_BYTES})")
    try:
        tables = tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:  # TOML's own are ValueErrors
        raise _wrong(path, page, str(error)) from None
    if unknown := tables.keys() - set(known):
        can_have = " and ".join(f"[{one}]" for one in known)
        raise _wrong(path, page, f"has '{min(unknown)}', and can have {can_have}")
    return tables


def _wrong(path: Path, page: str, why: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER,
        f"{path}: {why}",
        f"{page} lists what the file can have.",
    )
