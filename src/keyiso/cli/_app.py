"""The root of the command line, and its table of commands."""

import click

from keyiso.cli._lazy import Lazy, LazyGroup

_COMMANDS = {
    "quickstart": Lazy("keyiso.cli.quickstart", "Show what keyiso does, in a few seconds."),
    "key": Lazy("keyiso.cli.key", "Create keys, use them, delete them."),
    "provider": Lazy("keyiso.cli.provider", "Where keys can be kept."),
    "doctor": Lazy("keyiso.cli.doctor", "What this machine can do for keys, and why not."),
    "status": Lazy("keyiso.cli.status", "What runs, since when, with how many keys."),
    "trace": Lazy("keyiso.cli.trace", "Run a command, and show what it had done with keys."),
    "backup": Lazy("keyiso.cli.backup", "Write all keys, sealed, to a file."),
    "restore": Lazy("keyiso.cli.restore", "Bring the keys of a backup back."),
    "passport": Lazy("keyiso.cli.passport", "Your PIN, and the keys that only it opens."),
    "logon": Lazy("keyiso.cli.logon", "Log on with a PIN, and have the proof checked."),
    "tpm": Lazy("keyiso.cli.tpm", "The TPM that keeps the machine roots."),
    "recovery": Lazy("keyiso.cli.recovery", "The machine roots after the TPM is lost."),
    "events": Lazy("keyiso.cli.events", "Who did what with keys, and what failed."),
    "serve": Lazy("keyiso.cli.serve", "Run keyiso in the foreground."),
    "stop": Lazy("keyiso.cli.stop", "End the keyiso that runs in the background."),
    "service": Lazy("keyiso.cli.service", "Stop one of keyiso's services, and start it again."),
    "guest": Lazy("keyiso.cli.guest", "Programs in a virtual machine, keys outside of it."),
    "completion": Lazy("keyiso.cli.completion", "Have a shell complete commands and key names."),
}


def _print_version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"keyiso {version('keyiso')}")
    context.exit()


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes are listed in docs/cli.md. KEYISO_HOME names a keyiso of your own.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def app() -> None:
    """Named private keys that live in another process.

    A program names a key and has it sign; the private key itself never leaves the process that
    holds it. Begin with: keyiso quickstart
    """
