"""Exit codes, and how an error is told: the one place where a status becomes either."""

import contextlib
import enum
import io
import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import click

from keyiso.cli._advice import advice
from keyiso.cli._options import wants_json
from keyiso.cli._output import print_json, printable
from keyiso.errors import Hop, NCryptError
from keyiso.status import Status, describe, status_name


class ExitCode(enum.IntEnum):
    """What a script can tell apart; docs/cli.md explains each."""

    SUCCESS = 0
    FAILED = 1
    USAGE = 2
    """Chosen by click."""
    NOT_FOUND = 3
    EXISTS = 4
    BAD_SIGNATURE = 5
    NO_SERVICE = 6
    NO_PROTECTION = 7
    REFUSED = 8
    SERVED_ALREADY = 9
    """`serve`: the supervisor's own exit code."""
    INTERRUPTED = 130
    """128 + SIGINT, as shells have it."""
    OUTPUT_CLOSED = 141
    """128 + SIGPIPE: whoever read the output went away."""


_CODE_OF_STATUS: Final[Mapping[int, ExitCode]] = MappingProxyType(
    {
        Status.NTE_BAD_KEYSET: ExitCode.NOT_FOUND,
        Status.NTE_NOT_FOUND: ExitCode.NOT_FOUND,
        Status.NTE_EXISTS: ExitCode.EXISTS,
        Status.NTE_BAD_SIGNATURE: ExitCode.BAD_SIGNATURE,
        Status.KEYISO_E_SERVICE_UNAVAILABLE: ExitCode.NO_SERVICE,
        Status.NTE_VBS_UNAVAILABLE: ExitCode.NO_PROTECTION,
        Status.NTE_PERM: ExitCode.REFUSED,
        Status.KEYISO_E_PEER_REFUSED: ExitCode.REFUSED,
    }
)


def run(app: click.Command, arguments: Sequence[str]) -> int:
    """Run the command line. Returns the exit code, and has said what there is to say."""
    _open_what_is_closed()
    _print_anything()
    try:
        code = _invoke(app, arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()
        return ExitCode.OUTPUT_CLOSED
    except OSError as error:
        return _tell_system_error(error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def exit_code(error: NCryptError) -> ExitCode:
    """The exit code of an error."""
    return _CODE_OF_STATUS.get(error.status, ExitCode.FAILED)


def error_object(error: NCryptError) -> dict[str, Any]:
    """An error for programs."""
    return {
        "status": status_name(error.status),
        "code": f"0x{error.status & 0xFFFFFFFF:08X}",
        "message": describe(error.status),
        "cause": error.cause,
        "action": advice(error),
        "chain": [_hop_object(hop) for hop in error.chain],
        "exit_code": int(exit_code(error)),
    }


def print_error(error: NCryptError) -> None:
    """An error for people, on stderr."""
    click.echo(f"keyiso: {describe(error.status)}", err=True)
    for label, text in (
        ("Cause", error.cause),
        ("To do", advice(error)),
        ("Way", " -> ".join(map(str, error.chain))),
    ):
        if text:
            click.echo(f"  {label + ':':6} {printable(text)}", err=True)


def _invoke(app: click.Command, arguments: Sequence[str]) -> int:
    try:
        with app.make_context("keyiso", list(arguments)) as context:
            try:
                app.invoke(context)
            except NCryptError as error:
                return _failed(error, as_json=wants_json(context))
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as abort:
        # A prompt raises it for ^C too, and keeps what it stands for only as the context.
        if isinstance(abort.__context__, KeyboardInterrupt):
            return ExitCode.INTERRUPTED
        click.echo("Nothing was done.", err=True)
        return ExitCode.FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        return _tell_system_error(error)
    return ExitCode.SUCCESS


def _failed(error: NCryptError, *, as_json: bool) -> ExitCode:
    if as_json:
        print_json({"error": error_object(error)})
    else:
        print_error(error)
    return exit_code(error)


def _hop_object(hop: Hop) -> dict[str, Any]:
    return {"service": hop.service, "pid": hop.pid, "function": hop.function}


def _open_what_is_closed() -> None:
    """Open the standard streams that the caller closed.

    Else the next file or socket that is opened has the number, and what is printed goes there.
    """
    for name, mode, access in _STREAMS:
        if getattr(sys, name) is None:
            # The lowest free number is the stream's own: those before it are open.
            setattr(sys, name, os.fdopen(os.open(os.devnull, access), mode, encoding="utf-8"))


_STREAMS: Final = (
    ("stdin", "r", os.O_RDONLY),
    # Writing results fails, as it does on a closed descriptor; messages go nowhere.
    ("stdout", "w", os.O_RDONLY),
    ("stderr", "w", os.O_WRONLY),
)


def _print_anything() -> None:
    """A name that the terminal's encoding lacks is printed escaped instead of being an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _tell_system_error(error: OSError) -> ExitCode:
    """What the system refused; without a file's name it was the output."""
    if not error.filename:
        _drop_output()
    where = f"{printable(str(error.filename))}: " if error.filename else ""
    print(f"keyiso: {where}{error.strerror or type(error).__name__}", file=sys.stderr)
    return ExitCode.FAILED


def _drop_output() -> None:
    """Have what is still buffered go nowhere: the interpreter flushes once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
