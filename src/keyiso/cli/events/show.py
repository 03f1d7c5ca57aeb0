"""``keyiso events show``."""

import os
import re
from collections import deque
from datetime import datetime, timedelta
from typing import Final

import click

from keyiso.cli._options import json_option
from keyiso.cli._output import print_json, printable
from keyiso.cli.events._describe import event_line, event_object
from keyiso.cli.events._select import Wanted, open_log, wanted_options
from keyiso.paths import client_instance

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO: Final = re.compile(r"(\d{1,6})([smhd])")


def _time(context: click.Context, option: click.Parameter, value: str | None) -> datetime | None:
    """A time of day, or how long ago."""
    if value is None:
        return None
    ago = _AGO.fullmatch(value)
    try:
        if ago:
            return datetime.now().astimezone() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(value).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is no time like 2026-08-01T12:00 or 90m") from None


@click.command()
@wanted_options
@click.option(
    "--since",
    callback=_time,
    metavar="TIME",
    help="From this time on: 2026-08-01, 2026-08-01T12:00, or 90s, 15m, 2h, 7d ago.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="At most so many, the last ones.",
)
@json_option
def command(
    channel: str | None,
    ids: tuple[int, ...],
    level: str | None,
    key: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """What has happened, the newest last.

    Reads the log itself, and starts nothing. What could steer a terminal is shown escaped.
    """
    directory = client_instance(os.environ).events
    wanted = Wanted(channel, frozenset(ids), level, key, since)
    log = open_log(directory)
    found = deque((one for one in log.read() if wanted.includes(one[0])), maxlen=limit)
    log.close()
    if as_json:
        events = [event_object(line) for _, line in found]
        print_json({"events": events, "damaged_lines": log.damaged})
        return
    for record, _ in found:
        click.echo(event_line(record))
    if not found:
        click.echo(f"No such events in {printable(str(directory))}.")
    if log.damaged:
        click.echo(f"Damaged lines that were skipped: {log.damaged}", err=True)
