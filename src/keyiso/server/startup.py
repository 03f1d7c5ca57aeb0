"""What a service finds when it starts: inherited sockets, and a parent that it dies with.

Listening sockets come as systemd passes them (sd_listen_fds(3)): descriptors from 3 on, their
number in ``LISTEN_FDS``, their names in ``LISTEN_FDNAMES``. The supervisor does the same.
"""

import ctypes
import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from keyiso.errors import NCryptError
from keyiso.quotas import Quotas
from keyiso.server.loop import Loop

FIRST_DESCRIPTOR: Final = 3
"""SD_LISTEN_FDS_START."""

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38


class StartupError(Exception):
    """The service was not started as it must be."""


def begin_service(
    service: str, settings: Iterable[str], *, descriptors_of_client: int = 1
) -> tuple[dict[str, socket.socket], Quotas]:
    """The listening sockets of a service and what it can give, in a process that is hardened.

    Ends the process and says why when it was not started as it must be.
    """
    try:
        sockets = inherited_sockets()
        harden_process()
        return sockets, usable_quotas(settings, descriptors_of_client=descriptors_of_client)
    except (StartupError, NCryptError, OSError) as error:
        sys.exit(f"keyiso {service}: {error}")


def inherited_sockets() -> dict[str, socket.socket]:
    """The listening sockets by name, no longer inheritable.

    Raises `StartupError` when this process was given none.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise StartupError("no sockets were passed: start keyiso with `keyiso serve` or systemd")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    count = int(os.environ["LISTEN_FDS"])
    found = {}
    for descriptor, name in zip(
        range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count), names, strict=True
    ):
        os.set_inheritable(descriptor, False)
        found[name] = socket.socket(fileno=descriptor)
    return found


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    To be called after every change of uid, which clears the setting.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before the setting was made


def harden_process() -> None:
    """No core dump, no debugger of the same user, no new rights by executing something."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def usable_quotas(settings: Iterable[str], *, descriptors_of_client: int = 1) -> Quotas:
    """What this service can give: the limits, lowered as it was told, and no more clients than
    it may have descriptors for, of which it takes as many as it is allowed.

    Raises ``NTE_INVALID_PARAMETER`` for settings that are none.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return Quotas().lowered(settings).within_descriptors(hard // descriptors_of_client)


def print_unexpected(error: Exception) -> None:
    """Say where an exception came from that no handler should have let out.

    Places only: the text of a foreign exception, or a value of a frame, may be a secret.
    """
    places = traceback.extract_tb(error.__traceback__)
    way = " > ".join(f"{Path(place.filename).name}:{place.lineno}" for place in places)
    print(f"keyiso: unexpected {type(error).__name__} at {way}", file=sys.stderr, flush=True)


def stop_on_signals(loop: Loop, stop: Callable[[], None]) -> None:
    """Call ``stop`` in the loop when this process is asked to end."""

    def ask(number: int, frame: object) -> None:
        loop.call_soon_from_thread(stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {argument})")
