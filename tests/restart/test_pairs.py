"""No stale handle at level ``vbs``: whoever is killed or stopped, while one pair lives.

Keys are per-boot ones and ephemeral ones. Without a TPM, the root of the boot lives in the memory
of the pairs: when they die all at once these keys are gone, and nothing else is.
"""

import contextlib
import os
import random
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso import NCryptError
from keyiso.status import Status
from keyiso.wire.supervision import ProcessStatus
from tests.instance import RunningInstance
from tests.restart.asking import Thread
from tests.restart.keyring import Keyring
from tests.restart.machine import HangingMachine, Machine, walk
from tests.restart.operations import Attempt, prepared
from tests.restart.scene import SHORT_VBS, VBS
from tests.restart.seed import SEED
from tests.restart.stand import SHARE_IN_FLIGHT, SOAK_SECONDS, Stand, stand_at
from tests.restart.victims import Victim, Victims, wait_until

pytestmark = pytest.mark.usefixtures("armed_machine")

KINDS = ("ECDSA_P256", "RSA", "ED25519", "AES", "ECDH_P256", "ephemeral")
UNDER_WAY = ("create ECDSA", "sign", "sign many", "agree and derive", "ephemeral use", "enumerate")
LOST = (Status.NTE_VBS_CANNOT_DECRYPT_KEY, Status.KEYISO_E_EPHEMERAL_GONE)


@pytest.fixture(scope="module")
def stand(
    armed_machine: None, tmp_path_factory: pytest.TempPathFactory, summaries: list[str]
) -> Iterator[Stand]:
    """One for all tests of this file that lose nothing."""
    with stand_at(tmp_path_factory.mktemp("stand"), SHORT_VBS, summaries) as made:
        yield made


# --- while one pair lives ----------------------------------------------------------------------


def test_no_operation_notices_who_is_killed_on_a_random_walk(stand: Stand) -> None:
    walk(stand, Machine, start=SEED, walks=3, steps=6)  # the first one is the simplest


def test_every_operation_meets_every_victim(stand: Stand) -> None:
    """What the random walk has left out."""
    stand.fill(stand.scene.columns, random.Random(SEED))
    stand.look()

    assert stand.empty_columns() == []


@pytest.mark.soak
def test_no_operation_notices_who_is_killed_for_a_long_time(
    tmp_path: Path, summaries: list[str]
) -> None:
    chance = random.Random(SEED)
    with stand_at(tmp_path, VBS, summaries) as stand:
        until = time.monotonic() + SOAK_SECONDS
        start = SEED
        while time.monotonic() < until:
            walk(stand, HangingMachine, start=start, walks=5, steps=30)
            start += 1
        stand.fill(stand.scene.columns, chance)
        stand.insist(SHARE_IN_FLIGHT, chance)
        stand.look()

        assert stand.empty_columns() == []
        assert stand.matrix.share_in_flight >= SHARE_IN_FLIGHT


def test_without_re_binding_the_same_walk_is_noticed(
    instance: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: what happens to a client that trusts what it once opened."""
    Victims(instance, "vbs").settle()
    monkeypatch.setenv("KEYISO_DEADLINE", "0")
    stand = Stand(instance, SHORT_VBS, Keyring("vbs", rebinds=False))
    try:
        stand.look()
        with pytest.raises((NCryptError, AssertionError), match=r"(?i)service_?unavailable"):
            walk(stand, Machine, start=SEED, walks=40, steps=12)  # it ends at the first one
    finally:
        stand.close()


# --- stopped for good --------------------------------------------------------------------------


def test_a_pair_that_stands_still_is_replaced(instance: RunningInstance) -> None:
    """Guardian and worker let each other go on when they are stopped, unless both are at once."""
    victims = Victims(instance, "vbs")
    victims.settle()
    held = Keyring("vbs").make("ECDSA_P256")
    (service,) = victims.holders()
    pair = process_named(instance, service)
    guardian = os.pidfd_open(pair.pid)

    stand_still(pair, guardian)
    held.check()

    ended, _, _ = select.select([guardian], [], [], 0)
    os.close(guardian)
    assert ended, "the pair that held the key went on"
    victims.settle()
    assert process_named(instance, service).restarts == pair.restarts + 1
    held.check()


def process_named(instance: RunningInstance, service: str) -> ProcessStatus:
    (found,) = (one for one in instance.status().processes if one.service == service)
    return found


def stand_still(pair: ProcessStatus, guardian: int) -> None:
    """Stop both, until neither lets the other one go on."""

    def stopped_for_good() -> bool:
        with contextlib.suppress(ProcessLookupError):
            for _ in range(100):
                os.kill(pair.worker_pid, signal.SIGSTOP)
                os.kill(pair.pid, signal.SIGSTOP)
        return all(is_stopped(pair.pid) for _ in looks())

    wait_until(stopped_for_good, "guardian and worker go on")


def looks() -> Iterator[None]:
    """Instants that are far enough from each other to see who goes on."""
    for _ in range(20):
        yield
        time.sleep(0.05)


def is_stopped(pid: int) -> bool:
    """By its tracer, which has not let it go on."""
    return "State:\tt" in Path(f"/proc/{pid}/status").read_text()


# --- when no pair lives ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "victim",
    [
        Victim.ALL_WORKERS,
        Victim.SUPERVISOR,
        pytest.param(Victim.EVERYTHING, marks=pytest.mark.soak),
    ],
    ids=lambda victim: victim.value,
)
def test_when_all_pairs_die_at_once_exactly_their_keys_are_gone(
    instance: RunningInstance, victim: Victim
) -> None:
    isolated, ordinary = Keyring("vbs", "isolated"), Keyring("software", "ordinary")
    for kind in KINDS:
        isolated.make(kind)
        ordinary.make(kind)
    before = list(isolated.held)
    victims = Victims(instance, "vbs")
    victims.settle()
    attempts = [Attempt(operation, 0) for operation in UNDER_WAY]
    with prepared(isolated, attempts) as lost, prepared(ordinary, attempts) as kept:
        askers = [Thread(work.ask, lambda: None) for work in (*lost, *kept)]
        pidfds = victims.pidfds(victim)
        for asker in askers:
            asker.go()
        for pidfd in pidfds:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        outcomes = [asker.outcome() for asker in askers]
        for asked in outcomes[: len(lost)]:
            if asked.error is not None:
                assert isinstance(asked.error, NCryptError)
                assert asked.error.status in LOST
        for work, asked in zip(kept, outcomes[len(lost) :], strict=True):
            assert asked.error is None
            work.check(asked.answer)
    for held in before:
        held.check_lost()
    ordinary.check()
    # What is made from now on is of another root, and works.
    for held in before:
        if held.name is not None:
            held.key = isolated.create(held.name, "ECDSA_P256", overwrite=True)
            held.key.sign(b"data")
            held.key.delete()
    for kind in KINDS:
        isolated.make(kind).check()
