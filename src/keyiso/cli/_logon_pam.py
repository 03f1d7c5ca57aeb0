"""A logon that PAM asks for: one attempt, an exit code, and not a word but the invitation."""

import os
import signal
from typing import Final

import click

from keyiso import limits
from keyiso.cli._logon_chain import Logon
from keyiso.client.retry import RetryPolicy
from keyiso.errors import NCryptError
from keyiso.passport.pam import PamExit, exit_of, pam_user, read_pin

_STDIN: Final = 0


def pam_logon(*, ready: bool) -> PamExit:
    """With ``ready``, whether a PIN can decide now; else whether the one on standard input does.

    Who ends neither in time ends the process, and with it its child.
    """
    signal.signal(signal.SIGALRM, lambda *_: os._exit(PamExit.AUTHINFO_UNAVAIL))
    signal.setitimer(signal.ITIMER_REAL, limits.PAM_LOGON_SECONDS)
    try:
        if ready:
            _begin(limits.PAM_READY_SECONDS).check_ready()
            click.echo("Enter your PIN.")
        else:
            with read_pin(_STDIN) as pin:
                logon = _begin(limits.PAM_LOGON_SECONDS)
                logon.log_on(logon.check_ready(), pin, logon.binding.operation_id())
    except NCryptError as error:
        return exit_of(error.status)
    except Exception:  # whatever it is, it says nothing about the PIN
        return PamExit.AUTHINFO_UNAVAIL
    return PamExit.SUCCESS


def _begin(seconds: float) -> Logon:
    """It starts no services, and waits for them so long."""
    return Logon(pam_user(os.environ), policy=RetryPolicy(seconds), autostart=False)
