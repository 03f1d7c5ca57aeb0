"""``keyiso guest relay``: runs in the machine."""

import grp
import os
from pathlib import Path

import click

from keyiso.cli._exit import ExitCode
from keyiso.cli._output import printable
from keyiso.clock import SystemClock
from keyiso.guest.relay import Relay
from keyiso.paths import make_private_directory, server_instance
from keyiso.server.loop import Loop
from keyiso.server.startup import harden_process, stop_on_signals, usable_quotas
from keyiso.supervisor.layout import link_runtime, listen_at, make_state, take_lock


@click.command()
@click.argument("device", type=click.Path(exists=True, path_type=Path))
@click.option("--system", is_flag=True, help="Be the keyiso of the whole machine.")
@click.option(
    "--group",
    metavar="GROUP",
    help="Who may use the keys, besides the user who runs this; all of them use the same keys.",
)
@click.pass_context
def command(context: click.Context, device: Path, system: bool, group: str | None) -> None:
    """Run in a virtual machine, and have its programs use the keys outside of it.

    DEVICE is the port that leads outside, such as /dev/virtio-ports/keyiso. Programs find this
    relay where they look for keyiso. It runs until Ctrl-C or SIGTERM, and waits for the other side
    whenever that is away. Exit code 9 means that a keyiso serves the same directory already.
    """
    instance = server_instance(os.environ, system=system)
    gid = None if group is None else _gid(group)
    make_state(instance)
    lock = take_lock(instance.lock)
    if lock is None:
        click.echo(f"keyiso: {printable(str(instance.state))} is served already", err=True)
        context.exit(ExitCode.SERVED_ALREADY)
    instance.outside.touch()
    make_private_directory(instance.runtime, mode=0o755 if system or group else 0o700)
    link_runtime(instance, dict(os.environ))
    listening = listen_at(instance.control_socket, mode=0o600)
    if gid is not None:
        os.chown(instance.control_socket, -1, gid)
        instance.control_socket.chmod(0o660)
    harden_process()
    usable_quotas(())
    loop = Loop(SystemClock())
    stop_on_signals(loop, loop.stop)
    Relay(loop, listening, device)
    loop.run()
    # The socket stays: who finds none would start a keyiso in this machine, or look elsewhere.


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise click.UsageError(f"there is no group {printable(name)}") from None
