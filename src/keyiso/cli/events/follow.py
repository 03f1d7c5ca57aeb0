"""``keyiso events follow``."""

import json
import os
from typing import Final

import click

from keyiso.cli.events._describe import event_line, event_object
from keyiso.cli.events._select import Wanted, not_readable, open_log, wanted_options
from keyiso.clock import SystemClock
from keyiso.paths import client_instance

_PAUSE_SECONDS: Final = 0.5
"""Between two looks at the log: soon enough for a person, and nothing for the machine."""


@click.command()
@wanted_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, for programs.")
def command(
    channel: str | None, ids: tuple[int, ...], level: str | None, key: str | None, as_json: bool
) -> None:
    """What happens from now on, until Ctrl-C.

    Reads the log itself, and starts nothing; there need not be a log yet.
    """
    directory = client_instance(os.environ).events
    wanted = Wanted(channel, frozenset(ids), level, key)
    log = open_log(directory)
    log.skip()
    clock = SystemClock()
    damaged = gaps = 0
    while True:
        try:
            for record, line in log.read():
                if wanted.includes(record):
                    click.echo(json.dumps(event_object(line)) if as_json else event_line(record))
        except PermissionError:
            raise not_readable(directory) from None
        if (damaged, gaps) != (log.damaged, log.gaps):
            damaged, gaps = log.damaged, log.gaps
            click.echo(f"Damaged lines: {damaged}; times the log was replaced: {gaps}", err=True)
        clock.sleep(_PAUSE_SECONDS)
