"""``keyiso logon``."""

from functools import partial
from typing import Any

import click

from keyiso.cli._logon_chain import Logon
from keyiso.cli._logon_pam import pam_logon
from keyiso.cli._options import json_option
from keyiso.cli._output import print_details, print_json, printable
from keyiso.cli._pin_attempts import with_right_pin
from keyiso.cli._pins import pin_stdin_option, pins
from keyiso.passport.assertion import LogonClaims
from keyiso.server.startup import harden_process


@click.command()
@click.argument("user", required=False)
@pin_stdin_option
@click.option("-v", "--verbose", is_flag=True, help="Say how long each step took.")
@click.option("--pam", is_flag=True, help="For pam_exec, as docs/pam.md has it.")
@click.option("--ready", is_flag=True, help="With --pam: can a PIN decide now?")
@json_option
@click.pass_context
def command(
    context: click.Context,
    user: str | None,
    pin_stdin: bool,
    verbose: bool,
    pam: bool,
    ready: bool,
    as_json: bool,
) -> None:
    """Log USER on with the PIN: yourself, or as root anybody.

    The PIN releases a key, which signs a nonce; the signature is checked against the key that the
    user enrolled. It opens no session. With --pam it is what PAM goes by, with PAM's exit codes.
    """
    if pam == (user is not None) or (ready and not pam):
        raise click.UsageError("Name a USER, or use --pam, which takes the user from PAM.")
    harden_process()
    if user is None:
        context.exit(pam_logon(ready=ready))
    logon = Logon(user)
    enrolled = logon.check_ready()
    claims = with_right_pin(
        logon.binding,
        pins(stdin=pin_stdin),
        f"To log {user} on",
        partial(logon.log_on, enrolled),
        logon.user.pw_uid,
    )
    if as_json:
        print_json(_as_object(logon, claims))
        return
    click.echo(f"{printable(claims.iss)} is logged on.")
    if verbose:
        print_details((name, f"{1000 * took:.1f} ms") for name, took in logon.steps.items())


def _as_object(logon: Logon, claims: LogonClaims) -> dict[str, Any]:
    return {
        "user": claims.iss,
        "uid": logon.user.pw_uid,
        "audience": claims.aud,
        "issued": claims.iat,
        "expires": claims.exp,
        "milliseconds": {name: round(1000 * took, 1) for name, took in logon.steps.items()},
    }
