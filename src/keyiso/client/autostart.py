"""Starting the user's own instance when nobody listens, as gpg-agent is started."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final

from keyiso.interpreter import module_command
from keyiso.paths import Instance

_KEPT_VARIABLES: Final = (
    "HOME",
    "KEYISO_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
)
"""Where the instance is. Nothing else of the application's environment reaches it."""


def start_instance(instance: Instance, environ: Mapping[str, str], timeout: float) -> str:
    """Start the instance, unless another client is just doing so.

    Returns what the supervisor had to say when it could not start, otherwise nothing. The caller
    goes on trying to connect in any case.

    Raises ``KEYISO_E_SERVICE_UNAVAILABLE`` when this keyiso cannot be started at all.
    """
    try:
        instance.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(instance.start_lock, "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            started = _run_supervisor(environ, timeout)
    except BlockingIOError:
        return ""  # another client is starting it
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the service cannot be started: {error}"
    if started.returncode in (0, _SERVED_ALREADY):
        return ""
    return started.stderr.decode("utf-8", "replace").strip()[-_MESSAGE_CHARACTERS:]


def _run_supervisor(
    environ: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run the supervisor, with the options of the one before. It goes into the background once its
    sockets are there.
    """
    return subprocess.run(
        module_command("keyiso.supervisor", "--detach", "--as-before"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        env=_environment(environ),
        timeout=timeout,
        check=False,
    )


_SERVED_ALREADY: Final = 9
_MESSAGE_CHARACTERS: Final = 2000


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environ[name] for name in _KEPT_VARIABLES if name in environ}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        **kept,
    }


def autostart_possible(instance: Instance) -> bool:
    """A system instance is started by the system; everybody starts his own, unless his keys are
    outside of this machine.
    """
    here = not instance.system and not os.path.exists(instance.outside)
    return here and os.access(sys.executable, os.X_OK)
