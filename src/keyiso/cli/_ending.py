"""Ending an instance, and waiting until it has ended."""

import os
import select
import signal
from typing import Final

from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import stop_instance
from keyiso.errors import ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status

PATIENCE_SECONDS: Final = 15.0
"""A supervisor kills services that have not ended after five seconds, and then ends itself."""


def end_instance(instance: Instance, supervisor: int) -> None:
    """Ask an instance to end, and return when its supervisor, the last of it, is gone.

    Raises ``NTE_FAIL`` when that takes too long.
    """
    try:
        pidfd = os.pidfd_open(supervisor)
    except ProcessLookupError:
        return
    try:
        stop_instance(instance, trusted_uids())
        if not wait_for_end(pidfd):
            raise ncrypt_error(
                Status.NTE_FAIL,
                f"the supervisor (pid {supervisor}) has not ended after {PATIENCE_SECONDS:g} s",
                "See `keyiso status`; kill the supervisor to end everything at once.",
            )
    finally:
        os.close(pidfd)


def kill_instance(supervisor: int) -> None:
    """End an instance that did not end when it was asked: its services die with the supervisor."""
    try:
        pidfd = os.pidfd_open(supervisor)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        wait_for_end(pidfd)
    finally:
        os.close(pidfd)


def wait_for_end(pidfd: int) -> bool:
    """Wait until a process is gone; False when it takes too long."""
    ended, _, _ = select.select([pidfd], [], [], PATIENCE_SECONDS)
    return bool(ended)
