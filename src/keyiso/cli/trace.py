"""``keyiso trace``: what a command had done with keys, and by which processes."""

import json
import os
from pathlib import Path
from typing import Final

import click

from keyiso.cli._collector import Collector
from keyiso.cli._output import printable
from keyiso.cli._trace_tree import as_lines, as_object

_CANNOT_RUN: Final = 126
_NO_SUCH_COMMAND: Final = 127
"""As shells have them."""


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--json", "as_json", is_flag=True, help="Show one JSON object, for programs.")
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write it to a file instead of standard error.",
)
@click.argument("words", metavar="COMMAND [ARGS]...", nargs=-1, required=True)
@click.pass_context
def command(
    context: click.Context, as_json: bool, output: Path | None, words: tuple[str, ...]
) -> None:
    """Run a command, and show what it had done with keys.

    Every operation of every program in it that uses keyiso: which processes worked on it, for how
    long, with which status, and what was broken on the way and bound again. It is shown when the
    command has ended, on standard error; the exit code is the command's.

    keyiso trace keyiso key sign web letter.txt --out letter.sig
    """
    with Collector() as collector:
        try:
            code = collector.run(words, os.environ)
        except OSError as error:
            click.echo(f"keyiso: {printable(words[0])}: {error.strerror}", err=True)
            missing = isinstance(error, FileNotFoundError)
            context.exit(_NO_SUCH_COMMAND if missing else _CANNOT_RUN)
    text = _json(collector, code) if as_json else _tree(collector)
    if output is None:
        click.echo(text, err=True, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    context.exit(code)


def _json(collector: Collector, code: int) -> str:
    processes = as_object(collector.steps())
    report = {"exit_code": code, "lost": collector.lost, "processes": processes}
    return json.dumps(report, indent=2) + "\n"


def _tree(collector: Collector) -> str:
    lines = list(as_lines(collector.steps())) or ["No program in it used keyiso."]
    if collector.lost:
        lines.append(f"{collector.lost} more things are not shown: there was no room for them.")
    return "".join(f"{line}\n" for line in lines)
