"""Printing: tables for people, JSON for programs. Nothing printed can steer a terminal."""

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import click

from keyiso.names import printable_name

_UNLIMITED: Final = 10_000
"""Columns of what is not a terminal: a pipe wraps nothing."""


def printable(text: str) -> str:
    """A message with everything escaped that could steer a terminal.

    Backslashes stay as they are, because the names in a message are escaped already.
    """
    return "\\".join(map(printable_name, text.split("\\")))


def print_json(value: object) -> None:
    """One JSON object, in ASCII: names are exact, and no byte of them reaches the terminal."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=True))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()
) -> None:
    """A table of texts that are printable already; ``right`` are columns of numbers. Columns
    without names have no header.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.show_header = any(columns)
    for column in columns:
        table.add_column(
            Text(column), justify="right" if column in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    terminal = sys.stdout.isatty()
    console = Console(force_terminal=terminal, width=None if terminal else _UNLIMITED)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())


def print_details(rows: Iterable[tuple[str, Any]]) -> None:
    """Labels with their values, which are printable already; a list takes a line per item."""
    rows = list(rows)
    width = max(len(label) for label, _ in rows) + 1
    for label, value in rows:
        lines = [value] if isinstance(value, str) else list(value)
        for number, line in enumerate(lines):
            head = "" if number else f"{label}:"
            click.echo(f"{head:{width}} {line}".rstrip())


def heading(text: str) -> None:
    """The title of a part, after an empty line."""
    click.echo()
    click.secho(text, bold=True)
