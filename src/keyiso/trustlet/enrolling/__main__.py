"""``python -I -m keyiso.trustlet.enrolling``: an enrolling pair."""

import contextlib
import os
import sys
from typing import Final

import msgspec

from keyiso.clock import SystemClock
from keyiso.errors import NCryptError
from keyiso.interpreter import module_command
from keyiso.tpm.enrolment import encode_enrolment, open_tpm
from keyiso.trustlet.arming.armed import become_armed
from keyiso.trustlet.arming.guardian import PYTHON_FLAGS, WorkerStart, run_guardian
from keyiso.trustlet.arming.heap import prepare_heap
from keyiso.trustlet.arming.kernel import cannot_arm
from keyiso.trustlet.enrolling.messages import (
    ANSWERS,
    JOBS,
    Asked,
    Enrolled,
    Failed,
    receive,
    send,
)
from keyiso.trustlet.enrolling.work import perform, rehearse, tpm_address

WORKER: Final = "worker"

_IN: Final = 0
_OUT: Final = 1
_HEAP_BYTES: Final = 4 << 20


def main(arguments: list[str]) -> int:
    if arguments != [WORKER]:
        return _guard()
    try:
        _work()
    except NCryptError as error:
        _fail(error)
    except (msgspec.DecodeError, EOFError):
        return 1  # nobody is there any more who wants it
    return 0


def _guard() -> int:
    command = module_command("keyiso.trustlet.enrolling", WORKER, flags=PYTHON_FLAGS)
    failed = run_guardian(WorkerStart(command, {"LANG": "C.UTF-8"}))
    reason = failed.reason
    if not isinstance(reason, NCryptError):
        reason = cannot_arm(str(reason))
    _fail(reason)
    return failed.status


def _work() -> None:
    prepare_heap(_HEAP_BYTES)
    job = receive(_IN, JOBS)
    with open_tpm(tpm_address(job), SystemClock()) as tpm:
        rehearse(job, tpm)
        become_armed()
        enrolment = perform(job, tpm, _ask)
    send(_OUT, Enrolled(encode_enrolment(enrolment)))


def _ask(request: bytes) -> bytes:
    send(_OUT, Asked(request))
    return receive(_IN, ANSWERS).answer


def _fail(error: NCryptError) -> None:
    """Say why. Who listens hears the first one, which is the worker's where it has any."""
    with contextlib.suppress(BrokenPipeError):
        send(_OUT, Failed(error.status, error.cause, error.action))


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)
