"""``python -I -m keyiso.trustlet.enrolling``: an enrolling pair."""

import os
import sys
from typing import Final

import msgspec

from keyiso.clock import SystemClock
from keyiso.errors import NCryptError
from keyiso.trustlet.arming.armed import become_armed
from keyiso.trustlet.arming.guardian import WorkerStart, python_command, run_guardian
from keyiso.trustlet.arming.heap import prepare_heap
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
from keyiso.trustlet.enrolment import encode_enrolment, open_tpm

WORKER: Final = "worker"

_IN: Final = 0
_OUT: Final = 1
_HEAP_BYTES: Final = 4 << 20


def main(arguments: list[str]) -> int:
    if arguments != [WORKER]:
        command = python_command("-m", "keyiso.trustlet.enrolling", WORKER)
        return run_guardian(WorkerStart(command, {"LANG": "C.UTF-8"})).status
    try:
        _work()
    except NCryptError as error:
        send(_OUT, Failed(error.status, error.cause, error.action))
    except (msgspec.DecodeError, EOFError):
        return 1  # nobody is there any more who wants it
    return 0


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


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)
