"""Many clients under load, services killed at random instants, and nobody notices."""

import os
from pathlib import Path

import pytest

from tests.instance import RunningInstance
from tests.restart.kills import Outcome, run_kills
from tests.restart.seed import SEED

SOAK_KILLS = int(os.environ.get("KEYISO_SOAK_KILLS", "2000"))


@pytest.mark.parametrize(
    "least_kills",
    [60, pytest.param(SOAK_KILLS, marks=pytest.mark.soak)],
    ids=["short", "soak"],
)
def test_kills_at_random_instants_are_not_noticed(
    instance: RunningInstance,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    least_kills: int,
) -> None:
    outcome = run_kills(
        instance, tmp_path, seed=SEED, kills=least_kills, operations=10 * least_kills
    )
    with capsys.disabled():
        print(f"\n  {outcome}")

    check(outcome, least_kills)


def check(outcome: Outcome, least_kills: int) -> None:
    """Nobody has noticed, and there was something to be noticed."""
    assert outcome.failures == []
    assert outcome.wrong_keys == 0
    assert (outcome.lost_keys, outcome.doubled_keys) == (set(), set())
    assert outcome.replaced_keys == set()
    kills = sum(outcome.kills.values())
    assert kills >= least_kills
    assert outcome.operations >= 10 * least_kills
    assert outcome.in_flight >= 0.3 * kills, "too few kills hit a request in flight"


@pytest.mark.parametrize(
    "least_kills",
    [15, pytest.param(SOAK_KILLS // 4, marks=pytest.mark.soak)],
    ids=["short", "soak"],
)
def test_kills_of_pairs_are_not_noticed_while_one_lives(
    armed_machine: None,
    instance: RunningInstance,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    least_kills: int,
) -> None:
    outcome = run_kills(
        instance,
        tmp_path,
        seed=SEED,
        kills=least_kills,
        operations=10 * least_kills,
        level="vbs",
    )
    with capsys.disabled():
        print(f"\n  vbs: {outcome}")

    check(outcome, least_kills)


def test_without_re_binding_the_same_kills_are_noticed(
    instance: RunningInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The negative control: what happens to a client that trusts what it once opened."""
    outcome = run_kills(
        instance,
        tmp_path,
        seed=SEED,
        kills=20,
        operations=200,
        client_environ={"KEYISO_DEADLINE": "0"},
    )
    with capsys.disabled():
        print(f"\n  re-binding off: {outcome}")

    assert outcome.failures, "the kills were not noticed even without re-binding"
