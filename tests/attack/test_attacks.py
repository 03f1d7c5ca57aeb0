"""Every attack against a worker without protection, where it must find what was planted, and
against an armed one, where it must not; and the same against the workers of running services. What
a level does not claim to stop is reported.
"""

import pytest

from tests.attack.outcome import Attack, Row, measure
from tests.attack.subjects import Subjects
from tests.attack.suite import ATTACKS
from tests.attack.table import PAGE, rows_in
from tests.attack.target import KINDS, Kind

CASES = [(kind, attack) for kind in KINDS for attack in ATTACKS if kind in attack.kinds]


@pytest.fixture(scope="module")
def measured() -> list[Row]:
    """What the tests of this module have measured so far."""
    return []


@pytest.mark.parametrize(
    ("kind", "attack"), CASES, ids=[f"{kind}: {attack.name}" for kind, attack in CASES]
)
def test_an_attack_comes_out_as_it_must(
    kind: Kind,
    attack: Attack,
    subjects: Subjects,
    measured: list[Row],
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = measure(attack, kind, subjects.new if attack.destructive else subjects.get)
    measured.append(row)
    if row.skipped:
        pytest.skip(row.outcome)
    with capsys.disabled():
        print(f"\n  {row}")

    assert attack.must(kind) in ("", row.outcome), row


def test_the_documentation_has_what_was_measured(measured: list[Row]) -> None:
    """What was skipped here or there is not compared, nor what is not stopped: chance has a part
    in it.
    """
    documented = {(row.attack, row.level): row for row in rows_in(PAGE.read_text(), "attacks")}
    assert set(documented) == {(attack.name, kind) for kind, attack in CASES}
    required = {(attack.name, kind) for kind, attack in CASES if attack.must(kind)}
    for row in measured:
        written = documented[row.attack, row.level]
        if (row.attack, row.level) in required and not (row.skipped or written.skipped):
            assert row.outcome == written.outcome, row
