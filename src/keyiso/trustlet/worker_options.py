"""How a ``vbs`` worker and its guardian are told what to be."""

import argparse
from pathlib import Path

from keyiso.required_shields import RequiredShields


def parse_options(program: str, arguments: list[str]) -> argparse.Namespace:
    """The same arguments for both of a pair."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--service", required=True)
    parser.add_argument("--keyiso-uid", type=int, required=True)
    parser.add_argument("--enrolment", type=Path, required=True)
    parser.add_argument("--kept-boot-root", type=Path, required=True)
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER")
    # What vbs keys require besides, by which file; and which shields the supervisor holds up.
    parser.add_argument("--require", action="append", default=[], metavar="SHIELD=FILE")
    parser.add_argument("--shield", action="append", default=[], metavar="SHIELD")
    # What the supervisor adds at each start: where the roots are to come from.
    parser.add_argument("--found-roots", action="store_true")
    parser.add_argument("--ask", type=Path, action="append", default=[], metavar="SOCKET")
    # How many pairs get the machine roots, where the TPM gives them out once in a boot.
    parser.add_argument("--pool", type=int, default=0, metavar="N")
    # Be none: no root can be had any more, and others have them.
    parser.add_argument("--stand-in", action="store_true")
    return parser.parse_args(arguments)


def required_shields(options: argparse.Namespace) -> RequiredShields:
    """What was told of what is required."""
    pairs = (said.partition("=") for said in options.require)
    return RequiredShields({shield: Path(file) for shield, _, file in pairs})
