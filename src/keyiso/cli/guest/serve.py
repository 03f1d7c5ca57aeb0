"""``keyiso guest serve``: runs outside of the machine."""

import os
from pathlib import Path

import click

from keyiso.cli._output import printable
from keyiso.guest.service import serve_guest
from keyiso.paths import client_instance, server_instance
from keyiso.supervisor.spawn import User


@click.command()
@click.argument("socket", type=click.Path(path_type=Path))
@click.option(
    "--as",
    "user",
    metavar="USER",
    help="The user that stands for the machine; root's to say. [default: who runs this]",
)
def command(socket: Path, user: str | None) -> None:
    """Run outside of a virtual machine, and let its programs use this keyiso.

    SOCKET is the Unix socket of the machine's port (QEMU: -chardev socket,server=on). Everything
    in the machine is one user to keyiso, USER: give each machine one of its own. Runs until Ctrl-C
    or SIGTERM, and connects again when the machine was off.
    """
    guest = None if user is None else _user(user)
    if guest is not None and os.geteuid() != 0:
        if guest.uid != os.geteuid():
            raise click.UsageError("only root can run it as somebody else")
        guest = None
    # Only a keyiso of the system serves others than the user who runs it.
    system = server_instance(os.environ, system=True)
    serve_guest(socket, guest, lambda: system if guest else client_instance(os.environ))


def _user(name: str) -> User:
    try:
        return User.named(name)
    except KeyError:
        raise click.UsageError(f"there is no user {printable(name)}") from None
