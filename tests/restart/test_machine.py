"""No stale handle: whatever is killed at whatever instant, no operation notices.

``KEYISO_SEED`` repeats a run's choices. What real processes make of them differs a little each
time: the instant of a kill is chosen in tenths of an operation's usual duration.
"""

import random
import time
from collections.abc import Iterator

import pytest

from keyiso import NCryptError
from tests.instance import RunningInstance
from tests.restart.keyring import Keyring
from tests.restart.machine import HangingMachine, Machine, walk
from tests.restart.scene import SOFTWARE
from tests.restart.seed import SEED
from tests.restart.stand import SHARE_IN_FLIGHT, SOAK_SECONDS, Stand, stand_at
from tests.restart.victims import Victim


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, summaries: list[str]) -> Iterator[Stand]:
    """One for all tests of this file: the longer its keys live through, the better."""
    with stand_at(tmp_path_factory.mktemp("stand"), SOFTWARE, summaries) as made:
        yield made


def test_no_operation_notices_who_is_killed_on_a_random_walk(stand: Stand) -> None:
    walk(stand, Machine, start=SEED, walks=4, steps=12)


@pytest.mark.parametrize("victim", SOFTWARE.hung, ids=lambda victim: victim.value)
def test_a_hung_process_is_replaced_and_every_operation_goes_on(
    stand: Stand, victim: Victim
) -> None:
    """Stopped processes end because the watchdog ends them; each operation waits that long, or
    does not need them."""
    stand.fill([victim.value], random.Random(SEED))
    stand.look()


def test_every_operation_meets_every_victim(stand: Stand) -> None:
    """What the random walk has left out."""
    chance = random.Random(SEED)
    stand.fill(stand.scene.columns, chance)
    stand.insist(SHARE_IN_FLIGHT, chance)
    stand.look()

    assert stand.empty_columns() == []
    assert stand.matrix.share_in_flight >= SHARE_IN_FLIGHT


@pytest.mark.soak
def test_no_operation_notices_who_is_killed_for_a_long_time(stand: Stand) -> None:
    until = time.monotonic() + SOAK_SECONDS
    start = SEED
    while time.monotonic() < until:
        walk(stand, HangingMachine, start=start, walks=5, steps=30)
        start += 1
    stand.fill(stand.scene.columns, random.Random(SEED))
    stand.look()

    assert stand.empty_columns() == []
    assert stand.matrix.share_in_flight >= SHARE_IN_FLIGHT


def test_without_re_binding_the_same_walk_is_noticed(
    instance: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: what happens to a client that trusts what it once opened."""
    monkeypatch.setenv("KEYISO_DEADLINE", "0")
    stand = Stand(instance, ring=Keyring(rebinds=False))
    try:
        stand.look()
        with pytest.raises((NCryptError, AssertionError), match=r"(?i)service_?unavailable"):
            walk(stand, Machine, start=SEED, walks=40, steps=12)  # it ends at the first one
    finally:
        stand.close()
