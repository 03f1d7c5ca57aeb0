"""``python -I -m keyiso.trustlet.pair``: a ``vbs`` worker and its guardian, as one service.

This process becomes the guardian. Where the machine cannot arm a worker it says so instead, to who
asks on the link, so that an error can name what is missing.
"""

import os
import socket
import sys
from collections.abc import Mapping
from typing import Final

from keyiso.errors import NCryptError, VbsUnavailableError, ncrypt_error
from keyiso.interpreter import module_command
from keyiso.server.startup import StartupError, inherited_sockets
from keyiso.status import Status
from keyiso.trustlet.arming.guardian import PYTHON_FLAGS, WorkerStart, run_guardian
from keyiso.trustlet.arming.kernel import DisturbedError
from keyiso.trustlet.worker_options import parse_options

_PASSED_ON: Final = (
    "PATH",
    "LANG",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
)


def main(arguments: list[str]) -> int:
    options = parse_options("keyiso.trustlet.pair", arguments)
    try:
        sockets = inherited_sockets()
    except StartupError as error:
        print(f"keyiso {options.service}: {error}", file=sys.stderr)
        return 1
    if options.stand_in:
        return _stand_in(options.service, options.keyiso_uid, sockets["link"])
    command = module_command("keyiso.trustlet.armed_worker", *arguments, flags=PYTHON_FLAGS)
    descriptors = tuple(one.fileno() for one in sockets.values())
    failed = run_guardian(WorkerStart(command, _environment(os.environ), descriptors))
    reason = failed.reason
    if not isinstance(reason, NCryptError):
        reason = ncrypt_error(Status.NTE_VBS_UNAVAILABLE, str(reason))
    if isinstance(reason, DisturbedError) or not isinstance(reason, VbsUnavailableError):
        return failed.status  # the supervisor tries again
    from keyiso.trustlet.unarmed import serve_refusal  # a guardian on guard has no use for it

    serve_refusal(options.service, options.keyiso_uid, sockets["link"], reason)
    return 0


def _stand_in(service: str, keyiso_uid: int, link: socket.socket) -> int:
    """Hold the place of a pair that could not get roots any more, while others have them."""
    from keyiso.trustlet.unarmed import serve_refusal

    reason = ncrypt_error(
        Status.KEYISO_E_TPM_LATCHED,
        "the roots of this boot have been handed out, and other processes have them",
    )
    serve_refusal(service, keyiso_uid, link, reason, "starting")
    return 0


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in _PASSED_ON if name in environ}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
