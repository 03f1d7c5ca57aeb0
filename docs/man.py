"""Writes the manual pages of the command line: ``python docs/man.py DIRECTORY``.

One page for each command, from what the command itself says with ``--help``; exit codes come from
docs/cli.md and directories from the code. With SOURCE_DATE_EPOCH the pages bear that date.
"""

import inspect
import os
import re
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click

from keyiso.cli._app import app
from keyiso.paths import server_instance

MANUAL = Path(__file__).with_name("cli.md")
ENVIRONMENT = {
    "KEYISO_HOME": "The directory of a keyiso of your own, which is used instead of any other.",
    "KEYISO_DEADLINE": "How many seconds a command waits while services restart, 30 by default.",
}
USER = server_instance({"HOME": "~"}, system=False)
SYSTEM = server_instance({}, system=True)
FILES = {
    f"{USER.state}": "Your own keys, sealed, and the log of events.",
    f"{SYSTEM.state}": "The same of a keyiso that serves every user.",
    **{
        f"{directory}/providers.d/*.toml": "Registered key storage providers."
        for directory in USER.config
    },
}


def pages(context: click.Context) -> Iterator[click.Context]:
    """A command and all below it."""
    yield context
    for below in subcommands(context):
        yield from pages(below)


def subcommands(context: click.Context) -> list[click.Context]:
    group = context.command
    if not isinstance(group, click.Group):
        return []
    found = ((name, group.get_command(context, name)) for name in group.list_commands(context))
    return [
        click.Context(command, info_name=name, parent=context)
        for name, command in found
        if command is not None
    ]


def title(context: click.Context) -> str:
    """``keyiso-key-create``."""
    return context.command_path.replace(" ", "-")


def page(context: click.Context) -> str:
    """The page of one command, in the man macros of roff."""
    date = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))
    head = (title(context).upper(), "1", time.strftime("%Y-%m-%d", date), f"keyiso {RELEASE}")
    sections = {
        "NAME": [f"{escaped(title(context))} \\- {escaped(summary(context))}"],
        "SYNOPSIS": [synopsis(context)],
        "DESCRIPTION": list(description(inspect.cleandoc(context.command.help or ""))),
        "OPTIONS": list(definitions(options(context))),
        "COMMANDS": list(
            definitions({f"{title(one)}(1)": summary(one) for one in subcommands(context)})
        ),
        "EXIT STATUS": list(definitions(exit_codes())),
        "ENVIRONMENT": list(definitions(ENVIRONMENT)),
        "FILES": list(definitions(FILES)),
        "SEE ALSO": [",\n".join(f".BR {escaped(other)} (1)" for other in see_also(context))],
    }
    lines = [".TH " + " ".join(f'"{word}"' for word in head), ".nh", ".ad l"]
    for name, body in sections.items():
        if body:
            lines += [f".SH {name}", *body]
    return "\n".join(lines) + "\n"


def summary(context: click.Context) -> str:
    return context.command.get_short_help_str(limit=1000).removesuffix(".")


def synopsis(context: click.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return f"\\fB{escaped(context.command_path)}\\fR {escaped(pieces)}"


def description(text: str) -> Iterator[str]:
    """Paragraphs; those that begin with \\b keep their lines."""
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            lines = paragraph.removeprefix("\b").strip("\n").splitlines()
            yield from (".nf", *map(escaped, lines), ".fi")
        else:
            yield escaped(" ".join(paragraph.split()))


def options(context: click.Context) -> dict[str, str]:
    records = (
        option.get_help_record(context)
        for option in context.command.get_params(context)
        if isinstance(option, click.Option)
    )
    return {record[0]: " ".join(record[1].split()) for record in records if record is not None}


def definitions(entries: dict[str, str]) -> Iterator[str]:
    for term, meaning in entries.items():
        yield f".TP\n\\fB{escaped(term)}\\fR\n{escaped(meaning)}"


def exit_codes() -> dict[str, str]:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    return {code: meaning.replace("\\|", "|") for code, meaning in rows}


def see_also(context: click.Context) -> list[str]:
    """The page above, and those beside it and below."""
    above = [] if context.parent is None else [context.parent, *subcommands(context.parent)]
    near = [*map(title, above), *map(title, subcommands(context)), "openssl"]
    return [other for other in near if other != title(context)]


def escaped(text: str) -> str:
    """Text as roff prints it: nothing of it is a request; what stands in `` is bold."""
    text = "".join(_CHARACTERS.get(character, character) for character in text)
    text = re.sub(r"[^\x00-\x7f]", lambda match: f"\\[u{ord(match[0]):04X}]", text)
    text = re.sub(r"\\\(ga(.*?)\\\(ga", r"\\fB\1\\fR", text)
    return "\\&" + text if text.startswith((".", "\\(aq")) else text


_CHARACTERS = {
    "\\": "\\(rs",
    "-": "\\-",
    "'": "\\(aq",
    '"': "\\(dq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
}

RELEASE = version("keyiso")


def main() -> int:
    if len(sys.argv) != 2:
        print(f"usage: python {sys.argv[0]} DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for context in pages(click.Context(app, info_name="keyiso", **app.context_settings)):
        (directory / f"{title(context)}.1").write_text(page(context), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
