"""``keyiso doctor``: what this machine can do for keys, and why not."""

import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any, Final

import click

from keyiso.cli._exit import ExitCode
from keyiso.cli._options import json_option
from keyiso.cli._output import heading, print_details, print_json, print_table, printable
from keyiso.doctor.examination import Examination, examine
from keyiso.doctor.finding import Finding
from keyiso.doctor.tree import Tree
from keyiso.trustlet.arming.shields import Answer


@click.command()
@click.option("--start", is_flag=True, help="Start your own keyiso first, if it does not run.")
@json_option
@click.pass_context
def command(context: click.Context, start: bool, as_json: bool) -> None:
    """What this machine can do for keys, and what is missing.

    Everything is found out by trying: a pair of processes is armed and attacked, keys that end
    with the command sign. Nothing is changed. Asked by root, more can be tried.

    The exit code is 0 when ephemeral and per-boot keys that require vbs can be made here, and 7
    when they cannot, or when it is not certain.
    """
    found = examine(Tree(), os.environ, start=start)
    if as_json:
        print_json(_as_object(found))
    else:
        _print(found)
    if not found.can_require_vbs:
        context.exit(ExitCode.NO_PROTECTION)


# --- JSON --------------------------------------------------------------------------------------


def _as_object(found: Examination) -> dict[str, Any]:
    return {
        "can_require_vbs": found.can_require_vbs,
        "require_vbs": [_finding_object(one) for one in found.verdicts],
        "levels": [
            {"name": one.name, "stops": list(one.stops), "not_stopped": list(one.not_stopped)}
            for one in found.levels
        ],
        "findings": [_finding_object(one) for part in found.parts for one in part.findings],
        "instance": {
            "system": found.instance.system,
            "state": str(found.instance.state),
            "runtime": str(found.instance.runtime),
        },
    }


def _finding_object(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "state": finding.state.value,
        "evidence": finding.evidence,
        "consequence": finding.consequence,
        "remedy": finding.remedy,
    }


# --- tables ------------------------------------------------------------------------------------


def _print(found: Examination) -> None:
    click.secho("Keys that require vbs", bold=True)
    _print_findings(found.verdicts)
    click.echo()
    print_details(_what_levels_do(found))
    for part in found.parts:
        heading(part.title)
        _print_findings(sorted(part.findings, key=lambda one: _ORDER[one.state]))


_WIDTH: Final = max(len(state.value) for state in Answer)
_ORDER: Final = {Answer.NO: 0, Answer.UNKNOWN: 1, Answer.YES: 2}


def _what_levels_do(found: Examination) -> Iterator[tuple[str, list[str]]]:
    for one in found.levels:
        yield f"{one.name} stops", [f"- {threat}" for threat in one.stops]
        yield "but not", [f"- {threat}" for threat in one.not_stopped]


def _print_findings(findings: Iterable[Finding]) -> None:
    rows: list[tuple[str, str, str]] = []
    for _, same in itertools.groupby(findings, lambda one: (one.state, one.evidence)):
        rows += _rows(list(same))
    print_table(("", "", ""), rows)


def _rows(findings: list[Finding]) -> Iterator[tuple[str, str, str]]:
    """A line, and for what is not well two more. Findings for one reason share them."""
    first = findings[0]
    names = ", ".join(one.name for one in findings)
    yield f"{first.state.value:{_WIDTH}}", names, printable(first.evidence)
    if first.state is Answer.YES:
        return
    for consequence in dict.fromkeys(one.consequence for one in findings):
        yield "", "", consequence
    for remedy in dict.fromkeys(one.remedy for one in findings if one.remedy):
        yield "", "", f"To do: {printable(remedy)}"
