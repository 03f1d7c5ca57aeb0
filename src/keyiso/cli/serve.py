"""``keyiso serve``: the supervisor, in the foreground."""

import os
import sys

import click

from keyiso.cli._output import printable
from keyiso.errors import ncrypt_error
from keyiso.interpreter import module_command
from keyiso.paths import server_instance
from keyiso.required_shields import BPF_LSM
from keyiso.status import Status
from keyiso.trustlet.arming.bpf_lsm import BpfLsmShield, probe_bpf_lsm
from keyiso.trustlet.arming.suspicion import tracing_programs


@click.command()
@click.option("--system", is_flag=True, help="Serve every user of this machine.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes that hold keys; by default one per processor.",
)
@click.option(
    "--keyiso-user",
    metavar="USER",
    help="Whom the KeyIso service runs as (--system, as root). [default: keyiso]",
)
@click.option(
    "--trustlet-user",
    metavar="USER",
    help="Whom the processes that hold keys run as (--system, as root). [default: keyiso-trustlet]",
)
@click.option(
    "--passport-user",
    metavar="USER",
    help="Whom Passport's two services run as (--system, as root). [default: keyiso-passport]",
)
@click.option(
    "--vbs",
    type=click.Choice(["on-demand", "at-start", "off"]),
    help="When the armed processes start that hold vbs keys. [default: on-demand]",
)
@click.option(
    "--shield",
    type=click.Choice([BPF_LSM]),
    help="As root, with --system: forbid BPF programs, perf and what kernel lockdown forbids to"
    " everybody on this machine while keyiso runs.",
)
@click.option(
    "--limit",
    "limits_set",
    multiple=True,
    metavar="NAME=NUMBER",
    help="Lower a limit, such as KEYS_PER_USER=1000. May be given several times.",
)
def command(
    system: bool,
    workers: int | None,
    keyiso_user: str | None,
    trustlet_user: str | None,
    passport_user: str | None,
    vbs: str | None,
    shield: str | None,
    limits_set: tuple[str, ...],
) -> None:
    """Run keyiso in the foreground, until Ctrl-C or SIGTERM.

    Without --system it serves only you. You rarely need that: the first program that uses a key
    starts your own keyiso in the background. Exit code 9 means that another keyiso serves the
    same directory already.
    """
    if shield and not (system and os.geteuid() == 0):
        raise click.UsageError("--shield is for root, with --system.")
    instance = server_instance(os.environ, system=system)
    shield_descriptors = _raised_shield() if shield else ()
    click.echo(
        f"keyiso serves {printable(str(instance.state))}; end it with Ctrl-C or SIGTERM.", err=True
    )
    arguments = supervisor_command(
        *(("--system",) if system else ()),
        *(() if workers is None else (f"--workers={workers}",)),
        *(() if keyiso_user is None else (f"--keyiso-user={keyiso_user}",)),
        *(() if trustlet_user is None else (f"--trustlet-user={trustlet_user}",)),
        *(() if passport_user is None else (f"--passport-user={passport_user}",)),
        *(() if vbs is None else (f"--vbs={vbs}",)),
        *(f"--limit={setting}" for setting in limits_set),
        *(f"--shield-descriptor={number}" for number in shield_descriptors),
    )
    sys.stdout.flush()
    sys.stderr.flush()
    # It replaces this process, so that the supervisor carries nothing of the command line. It
    # keeps the environment, which says where the instance is; its services get one of their own.
    os.execve(arguments[0], arguments, dict(os.environ))  # noqa: S606 (our interpreter)


def _raised_shield() -> tuple[int, ...]:
    """What holds the shield up, as long as the supervisor lives that this process becomes. No
    service outlives that one.

    Raises `VbsUnavailableError`.
    """
    if programs := tracing_programs():
        raise ncrypt_error(
            Status.NTE_VBS_UNAVAILABLE,
            f"BPF programs run already that can read processes: {', '.join(programs)}",
            "See what they are with `bpftool prog`, and end them first.",
        )
    try:
        return BpfLsmShield([os.getpid()]).handed_on()
    except OSError:
        raise ncrypt_error(
            Status.NTE_VBS_UNAVAILABLE,
            f"the shield {BPF_LSM} cannot be raised: {probe_bpf_lsm().evidence}",
            "Serve without `--shield`; `keyiso doctor` says what the shield needs.",
        ) from None


def supervisor_command(*options: str) -> list[str]:
    """What runs a supervisor."""
    return module_command("keyiso.supervisor", *options)
