"""Which events are wanted, and the options that say so."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from keyiso.errors import ncrypt_error
from keyiso.events.reader import LogReader, Record
from keyiso.events.records import Channel, Level
from keyiso.names import printable_name
from keyiso.status import Status

F = TypeVar("F", bound=Callable[..., Any])

_LEVELS: Final = {level.name.lower(): level for level in Level}

channel_choice = click.Choice([channel.value for channel in Channel], case_sensitive=False)
level_choice = click.Choice(list(_LEVELS))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an event must be to be shown."""

    channel: str | None
    ids: frozenset[int]
    """Empty for all."""
    level: str | None
    """The most detailed one."""
    key: str | None
    since: datetime | None = None

    def includes(self, record: Record) -> bool:
        return (
            self.channel in (None, record.channel)
            and (not self.ids or record.event_id in self.ids)
            and (self.level is None or _rank(record.level) <= _LEVELS[self.level])
            and (self.key is None or record.data.get("KeyName") == printable_name(self.key))
            and (self.since is None or record.time >= self.since)
        )


def wanted_options(function: F) -> F:
    """``--channel``, ``--id``, ``--level`` and ``--key``."""
    for option in (
        click.option("--key", metavar="NAME", help="Of the keys of this name."),
        click.option("--level", type=level_choice, help="Of this level, and more serious ones."),
        click.option("--id", "ids", type=int, multiple=True, help="Of this event id; repeatable."),
        click.option("--channel", type=channel_choice, help="Of this channel."),
    ):
        function = option(function)
    return function


def open_log(directory: Path) -> LogReader:
    """Raises ``NTE_PERM`` for who may not read the log."""
    try:
        return LogReader(directory)
    except PermissionError:
        raise not_readable(directory) from None


def not_readable(directory: Path) -> Exception:
    return ncrypt_error(
        Status.NTE_PERM,
        f"uid {os.geteuid()} may not read the event log in {directory}",
        "It is for root and for the user that keyiso runs as.",
    )


def _rank(level: str) -> int:
    """A level that a later version may have is shown with the most serious ones."""
    return _LEVELS.get(level, 0)
