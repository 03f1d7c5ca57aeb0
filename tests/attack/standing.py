"""Attacks on the service rather than on the keys: signals that make a process stand still."""

import contextlib
import os
import random
import signal

from keyiso.trustlet.arming.guardian import STANDSTILL_SECONDS
from tests.attack.outcome import Outcome
from tests.attack.target import Target
from tests.conformance.raw_client import Ended

FLOOD = 2000

_HARMLESS = sorted(
    signal.valid_signals() - {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSTOP}
)


def stop(subject: Target) -> Outcome:
    """SIGSTOP to each process, once."""
    return _unless_it_stands_still(subject, [(pid, signal.SIGSTOP) for pid in subject.processes])


def stop_again_and_again(subject: Target) -> Outcome:
    """SIGSTOP to one or the other, many times, until perhaps both are stopped at once."""
    chance = random.Random(FLOOD)
    orders = [(chance.choice(subject.processes), signal.SIGSTOP) for _ in range(FLOOD)]
    return _unless_it_stands_still(subject, orders)


def flood(subject: Target) -> Outcome:
    """Every signal that does not end a pair, many times, with SIGSTOP in between."""
    chance = random.Random(FLOOD)
    numbers = [signal.SIGSTOP, *_HARMLESS]
    orders = [(chance.choice(subject.processes), chance.choice(numbers)) for _ in range(FLOOD)]
    return _unless_it_stands_still(subject, orders)


def _unless_it_stands_still(subject: Target, orders: list[tuple[int, signal.Signals]]) -> Outcome:
    """Send signals. A service that goes on has withstood it, and so has one that ends: the
    supervisor starts another one. One that does neither keeps everybody waiting.
    """
    for pid, number in orders:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    count = f"{len(orders)} signals"
    # A pair whose two processes were both stopped ends itself, some time later.
    subject.be_patient(2 if subject.kind == "bare" else 2 * STANDSTILL_SECONDS)
    try:
        subject.use_keys()
    except TimeoutError:
        return Outcome(True, f"{count}; it stands still")
    except (OSError, Ended):
        subject.wait_for_end()
        return Outcome(False, f"{count}; it ended")
    return Outcome(False, f"{count}; it goes on serving")
