"""Where results go: standard output, or a file that is written whole or not at all."""

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator

import click

from keyiso.cli._output import printable

out_option = click.option(
    "--out",
    type=click.Path(),
    callback=lambda context, option, value: None if value == "-" else value,
    help="Write to this file instead of standard output.",
)
force_option = click.option(
    "--force", is_flag=True, help="Replace the file of --out where there is one."
)


def check_terminal(out: str | None, what: str) -> None:
    """Refuse to print on a terminal what is secret, or could steer it."""
    if out is None and sys.stdout.isatty():
        raise click.UsageError(f"{what} is not printed on a terminal: name a file with --out.")


def check_json(as_json: bool, out: str | None) -> None:
    """Refuse a file for what is printed."""
    if as_json and out is not None:
        raise click.UsageError("--json prints the result: leave --out out.")


def check_new(out: str | None, *, force: bool) -> None:
    """Refuse a file that exists, unless it may be replaced; a device or a pipe always can be."""
    if out is not None and not force:
        mode = _mode(out)
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            raise _exists(out)


def write_output(out: str | None, data: bytes, *, secret: bool = False, force: bool = True) -> None:
    """Write to a file, or without one to standard output.

    A secret's file can be read by its owner only. What is there and is no file (a device, a pipe,
    a link) is written into, but a secret never through a link.
    """
    if out is None:
        click.echo(data, nl=False)
        return
    mode = _mode(out)
    try:
        if mode and not stat.S_ISREG(mode):
            _write(out, data, os.O_TRUNC | (os.O_NOFOLLOW if secret else 0))
        else:
            _replace(out, data, 0o600 if secret else 0o666, force=force)
    except OSError as error:
        raise OSError(error.errno, error.strerror, out) from None  # not the one in between


def _replace(out: str, data: bytes, permissions: int, *, force: bool) -> None:
    """Put a new file in the place of what is there, if anything."""
    new = os.path.join(os.path.dirname(out), f".keyiso-{secrets.token_hex(8)}")
    with _removed_on_failure(new):
        _write(new, data, os.O_CREAT | os.O_EXCL, permissions, durable=True)
        with contextlib.nullcontext() if force else _name_taken(out):
            os.replace(new, out)


@contextlib.contextmanager
def _name_taken(out: str) -> Iterator[None]:
    """A name that nobody else can have taken meanwhile."""
    try:
        os.close(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise _exists(out) from None
    with _removed_on_failure(out):
        yield


@contextlib.contextmanager
def _removed_on_failure(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _write(
    path: str, data: bytes, flags: int, permissions: int = 0, *, durable: bool = False
) -> None:
    with open(os.open(path, os.O_WRONLY | flags, permissions), "wb") as file:
        file.write(data)
        file.flush()
        if durable:  # it takes the place of another file: not empty after a loss of power
            os.fsync(file.fileno())


def _mode(path: str) -> int:
    """What is there; 0 where nothing is."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def _exists(out: str) -> click.UsageError:
    return click.UsageError(f"{printable(out)} exists: use --force to replace it.")
