"""Having an enrolling pair do a job."""

import contextlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from keyiso.errors import ncrypt_error
from keyiso.interpreter import module_command
from keyiso.status import Status
from keyiso.tpm.enrolment import decode_enrolment
from keyiso.trustlet.arming.memory_lock import raise_memory_lock_limit
from keyiso.trustlet.enrolling.messages import (
    OUTCOMES,
    Answer,
    Asked,
    Enrolled,
    Failed,
    Job,
    receive,
    send,
)

_ENVIRONMENT: Final = {"LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a pair runs as."""

    uid: int
    gid: int
    groups: Sequence[int] = ()
    """Further ones: that of the TPM's device."""


def enrolled_by_pair(
    job: Job, answer: Callable[[bytes], bytes], account: Account | None = None
) -> bytes:
    """Have a pair do a job: the enrolment that is to be stored.

    ``answer`` has a recovery request answered. Without an account the pair runs as this process.

    Raises ``NTE_VBS_UNAVAILABLE`` when there can be no armed process here, and what the job raises.
    """
    raise_memory_lock_limit()
    with subprocess.Popen(
        module_command("keyiso.trustlet.enrolling"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what it prints there, it also says
        env=_ENVIRONMENT,
        cwd="/",
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else account.groups,
    ) as pair:
        try:
            return _enrolment(pair, job, answer)
        except (EOFError, BrokenPipeError, msgspec.DecodeError):
            raise ncrypt_error(
                Status.NTE_VBS_UNAVAILABLE, "the pair ended without a word", "Try again."
            ) from None
        finally:
            pair.kill()  # and its worker dies with it


def _enrolment(pair: subprocess.Popen[bytes], job: Job, answer: Callable[[bytes], bytes]) -> bytes:
    assert pair.stdin is not None and pair.stdout is not None  # noqa: S101 (they are)
    with contextlib.suppress(BrokenPipeError):  # it has ended, and has said why
        send(pair.stdin.fileno(), job)
    while True:
        outcome = receive(pair.stdout.fileno(), OUTCOMES)
        match outcome:
            case Asked():
                send(pair.stdin.fileno(), Answer(answer(outcome.request)))
            case Failed():
                raise ncrypt_error(outcome.status, outcome.cause, outcome.action)
            case Enrolled():
                decode_enrolment(outcome.enrolment)  # raises for what nobody could read again
                return outcome.enrolment
