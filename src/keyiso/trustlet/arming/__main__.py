"""``python -I -m keyiso.trustlet.arming``: a pair without keys, for trying out what a pair has.

It prints what the worker found of itself, one finding a line, and ends with its standard input.
"""

import os
import sys

from keyiso.errors import NCryptError
from keyiso.interpreter import module_command
from keyiso.trustlet.arming.armed import become_armed
from keyiso.trustlet.arming.guardian import PYTHON_FLAGS, WorkerStart, run_guardian
from keyiso.trustlet.arming.heap import prepare_heap

WORKER = "worker"

_HEAP_BYTES = 1 << 20


def main(arguments: list[str]) -> int:
    if arguments != [WORKER]:
        command = module_command("keyiso.trustlet.arming", WORKER, flags=PYTHON_FLAGS)
        return run_guardian(WorkerStart(command, {"LANG": "C.UTF-8"})).status
    try:
        prepare_heap(_HEAP_BYTES)
        findings = become_armed()
    except NCryptError as error:
        print(f"keyiso worker: {error}", file=sys.stderr)
        return 1
    print(os.getpid(), *(f"{one.shield}={one.evidence}" for one in findings), sep="\n", flush=True)
    while os.read(0, 1):
        pass
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)
