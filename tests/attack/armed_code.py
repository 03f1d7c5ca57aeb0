"""Running a few lines of Python in an armed process. Also the program of both processes."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SECONDS = 60

HEAP_BYTES = 4 << 20


def run_armed(
    code: str,
    *,
    before: str = "",
    under: Sequence[str] = (),
    python: Path = Path(sys.executable),
    program: Path = Path(__file__),
) -> subprocess.CompletedProcess[str]:
    """The output and exit status of a guardian whose worker runs ``code`` once it is armed, and
    ``before`` while it is not. The worker ends with the code; its guardian is killed then.

    ``under`` is a command that runs the guardian.
    """
    return subprocess.run(
        [*under, str(python), "-I", str(program), "guard", before, code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def _guard(before: str, code: str) -> int:
    from keyiso.trustlet.arming.guardian import WorkerStart, python_command, run_guardian

    command = python_command(str(Path(__file__).resolve()), "armed", before, code)
    return run_guardian(WorkerStart(command, {"PATH": os.defpath, "LANG": "C.UTF-8"})).status


def _armed(before: str, code: str) -> int:
    from keyiso.errors import NCryptError
    from keyiso.trustlet.arming.armed import become_armed
    from keyiso.trustlet.arming.heap import prepare_heap

    names: dict[str, object] = {"heap": prepare_heap(HEAP_BYTES)}
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # for `tests`
    exec(before, names)
    compiled = compile(code, "<armed>", "exec")
    try:
        become_armed()
    except NCryptError as error:
        print(error, file=sys.stderr)
        return 3
    try:
        exec(compiled, names)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
    return 0


if __name__ == "__main__":
    status = {"guard": _guard, "armed": _armed}[sys.argv[1]](*sys.argv[2:])
    sys.stdout.flush()
    os._exit(status)
