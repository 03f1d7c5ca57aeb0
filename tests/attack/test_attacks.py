"""Every attack against a bare worker, where it must find what was planted, and against an armed
one, where it must not. What the level does not claim to stop is reported.
"""

from collections.abc import Callable

import pytest

from tests.attack.conftest import StartSubject
from tests.attack.outcome import FAILS, SUCCEEDS, Attack, Row, measure
from tests.attack.subject import KINDS, Kind
from tests.attack.suite import ATTACKS
from tests.attack.table import PAGE, rows_in

Carry = Callable[[Attack, Kind], Row]


def by_name(attack: Attack) -> str:
    return attack.name


@pytest.fixture(scope="module")
def measured() -> list[Row]:
    """What the tests of this module have measured so far."""
    return []


@pytest.fixture
def carry_out(
    subject_of: StartSubject,
    start_subject: StartSubject,
    measured: list[Row],
    capsys: pytest.CaptureFixture[str],
) -> Carry:
    """Measures one attack, says what came of it, and skips what the machine cannot do."""

    def carry_out(attack: Attack, kind: Kind) -> Row:
        row = measure(attack, kind, start_subject if attack.destructive else subject_of)
        measured.append(row)
        if row.skipped:
            pytest.skip(row.outcome)
        with capsys.disabled():
            print(f"\n  {row}")
        return row

    return carry_out


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.on_bare], ids=by_name)
def test_an_attack_succeeds_against_a_bare_worker(attack: Attack, carry_out: Carry) -> None:
    row = carry_out(attack, "bare")

    assert row.outcome == SUCCEEDS, row.evidence


@pytest.mark.parametrize("attack", ATTACKS, ids=by_name)
def test_an_armed_worker_withstands_an_attack(attack: Attack, carry_out: Carry) -> None:
    row = carry_out(attack, "armed")

    assert not attack.stopped or row.outcome == FAILS, row.evidence


def test_the_documentation_has_what_was_measured(measured: list[Row]) -> None:
    """What was skipped here or there is not compared, nor what is a matter of chance."""
    documented = {(row.attack, row.level): row for row in rows_in(PAGE.read_text(), "attacks")}
    assert [name for name, _ in documented] == [
        attack.name for attack in ATTACKS for kind in KINDS if kind == "armed" or attack.on_bare
    ]
    by_chance = {attack.name for attack in ATTACKS if not attack.stopped}
    for row in measured:
        written = documented[row.attack, row.level]
        if not (row.skipped or written.skipped or row.attack in by_chance):
            assert row.outcome == written.outcome, row
