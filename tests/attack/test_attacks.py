"""Every attack against a bare worker, where it must find what was planted, and against an armed
one, where it must not. What the level does not claim to stop is reported.
"""

import pytest

from tests.attack.conftest import StartSubject
from tests.attack.outcome import Attack, Outcome
from tests.attack.subject import Kind
from tests.attack.suite import ATTACKS


def by_name(attack: Attack) -> str:
    return attack.name


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.on_bare], ids=by_name)
def test_an_attack_succeeds_against_a_bare_worker(
    attack: Attack, subject_of: StartSubject, start_subject: StartSubject
) -> None:
    outcome = _attack("bare", attack, subject_of, start_subject)

    assert outcome.succeeded, outcome.detail


@pytest.mark.parametrize("attack", ATTACKS, ids=by_name)
def test_an_armed_worker_withstands_an_attack(
    attack: Attack,
    subject_of: StartSubject,
    start_subject: StartSubject,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcome = _attack("armed", attack, subject_of, start_subject)

    with capsys.disabled():
        print(f"\n  {attack.name}: {outcome}")
    assert not (attack.stopped and outcome.succeeded), outcome.detail


def _attack(
    kind: Kind, attack: Attack, subject_of: StartSubject, start_subject: StartSubject
) -> Outcome:
    """The outcome; a worker that was not to be destroyed goes on serving."""
    subject = (start_subject if attack.destructive else subject_of)(kind)
    outcome = attack.run(subject)
    if not attack.destructive:
        subject.use_keys()
    return outcome
