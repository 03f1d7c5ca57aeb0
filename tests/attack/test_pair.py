"""A guardian and its worker live and die together, and nothing but an end ends their service."""

import ctypes
import itertools
import os
import random
import signal
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from keyiso.trustlet.arming.guardian import STANDSTILL_SECONDS
from keyiso.trustlet.arming.process import threads_of
from tests.attack.conftest import StartSubject
from tests.attack.subject import Subject
from tests.attack.target import wait_until
from tests.conformance.raw_client import Ended

LIBC = ctypes.CDLL(None)
TGKILL = 234

SIGNALS = (
    *(number for number in signal.valid_signals() if number not in (signal.SIGKILL, 15, 2)),
    32,
    33,
)
"""All but SIGKILL, and SIGTERM and SIGINT, which ask the guardian to end."""


def test_an_armed_worker_says_what_it_has(start_subject: StartSubject) -> None:
    subject = start_subject("armed")

    shields = [line.split(":")[0] for line in subject.findings[1:]]
    assert shields == ["secretmem", "rehomed", "guarded", "seccomp", "no-core"]
    assert all(": yes (" in line for line in subject.findings[1:])


@pytest.mark.parametrize("victim", ["worker", "guardian"])
def test_who_loses_the_other_one_ends(victim: str, start_subject: StartSubject) -> None:
    subject = start_subject("armed")

    os.kill(getattr(subject, victim), signal.SIGKILL)

    subject.wait_for_end()


@pytest.mark.parametrize("request_to_end", [signal.SIGTERM, signal.SIGINT])
def test_a_guardian_that_is_asked_to_end_ends_both(
    request_to_end: signal.Signals, start_subject: StartSubject
) -> None:
    subject = start_subject("armed")

    os.kill(subject.guardian, request_to_end)

    assert subject.exit_status() == 0
    subject.wait_for_end()


def test_no_signal_stops_the_service(start_subject: StartSubject) -> None:
    """Nor leaves it half stopped: each of the two goes on only when the other one lets it."""
    subject = start_subject("armed")

    for number, pid in itertools.product(SIGNALS, (subject.worker, subject.guardian)):
        os.kill(pid, number)
        subject.use_keys()


def test_no_signal_to_any_thread_stops_the_service(start_subject: StartSubject) -> None:
    subject = start_subject("armed")

    for thread in threads_of(subject.worker):
        for number in (signal.SIGSTOP, signal.SIGCONT, signal.SIGCHLD, 33):
            assert LIBC.syscall(TGKILL, subject.worker, thread, number) == 0
            subject.use_keys()


def test_signals_while_it_works_do_not_stop_the_service(start_subject: StartSubject) -> None:
    subject = start_subject("armed")

    with subject.at_work():
        for _ in range(50):
            os.kill(subject.worker, signal.SIGSTOP)
            os.kill(subject.worker, signal.SIGCHLD)
    subject.use_keys()


def test_both_stopped_at_once_serve_or_end(start_subject: StartSubject) -> None:
    """Two that stand still cannot let each other go on. The alarm ends them."""
    subject = start_subject("armed")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)

    for _ in range(100):
        os.kill(chance.choice((subject.worker, subject.guardian)), signal.SIGSTOP)

    assert _serves(subject) or wait_until(lambda: not subject.alive, 2 * STANDSTILL_SECONDS)


def test_a_debugger_that_tries_does_not_stop_the_service(start_subject: StartSubject) -> None:
    subject = start_subject("armed")

    with subject.at_work():
        for _ in range(5):
            for pid in subject.processes:
                done = subprocess.run(
                    ["strace", "-p", str(pid)], capture_output=True, text=True, timeout=30
                )
                assert "not permitted" in done.stderr
    subject.use_keys()


@pytest.mark.soak
def test_two_hundred_pairs_leave_nothing_behind() -> None:
    """No process and no descriptor."""
    ends = Counter[str]()
    descriptors = set(os.listdir("/proc/self/fd"))
    for number in range(200):
        with tempfile.TemporaryDirectory() as directory, Subject("armed", Path(directory)) as one:
            how = ("guardian", "worker", "asked")[number % 3]
            ends[how] += 1
            if how == "asked":
                os.kill(one.guardian, signal.SIGTERM)
            else:
                os.kill(getattr(one, how), signal.SIGKILL)
            one.wait_for_end()
        assert not one.alive
    print(dict(ends))

    assert set(os.listdir("/proc/self/fd")) == descriptors


def _serves(subject: Subject) -> bool:
    try:
        subject.channel.socket.settimeout(2)
        subject.use_keys()
    except (OSError, Ended):
        return False
    return True
