"""Rules for PINs from an instance's configuration."""

from pathlib import Path

import pytest

from keyiso.config.pin_rules import FILE_NAME, read_pin_rules
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy
from keyiso.crypto.pin_rules import PinRules, rules_of_argument
from keyiso.status import Status
from tests.conformance.statuses import fails

FULL = """
[pin]
minimum_length = 8
maximum_length = 20
digits = "required"
lowercase_letters = "required"
uppercase_letters = "forbidden"
special_characters = "allowed"
simple_patterns = true
expiration_days = 90
history = 3

[lock]
attempts = 3
backoff_seconds = [300, 3600]
"""
RULES = PinRules(
    PinPolicy(
        minimum_length=8,
        maximum_length=20,
        digits="required",
        lowercase_letters="required",
        uppercase_letters="forbidden",
        special_characters="allowed",
        simple_patterns=True,
        expiration_days=90,
        history=3,
    ),
    LockSchedule(3, (300, 3600)),
)


def test_everything_can_be_set_and_what_is_not_is_as_usual(tmp_path: Path) -> None:
    file = tmp_path / FILE_NAME
    assert read_pin_rules([tmp_path]) == PinRules()
    file.write_text(FULL)
    assert read_pin_rules([tmp_path]) == RULES
    file.write_text("[pin]\nhistory = 7\n")
    assert read_pin_rules([tmp_path]) == PinRules(PinPolicy(history=7))
    file.write_text("")
    assert read_pin_rules([tmp_path]) == PinRules()


def test_the_first_directory_that_has_rules_has_all_of_them(tmp_path: Path) -> None:
    first, second = tmp_path / "user", tmp_path / "system"
    second.mkdir()
    (second / FILE_NAME).write_text(FULL)
    assert read_pin_rules([first, second]) == RULES
    first.mkdir()
    (first / FILE_NAME).write_text("[lock]\nattempts = 9\n")
    assert read_pin_rules([first, second]) == PinRules(schedule=LockSchedule(9))


def test_rules_are_the_same_in_another_process() -> None:
    assert rules_of_argument(RULES.as_argument()) == RULES


@pytest.mark.parametrize(
    "text",
    [
        "[pin]\nminimum_length = 3",
        "[pin]\nminimum_length = 9\nmaximum_length = 8",
        '[pin]\nminimum_length = "8"',
        "[pin]\nminimum_length = 8.0",
        "[pin]\nminimal_length = 8",
        '[pin]\ndigits = "sometimes"',
        "[pin]\nhistory = 51",
        "[pin]\nexpiration_days = -1",
        "[lock]\nattempts = 0",
        "[lock]\nbackoff_seconds = []",
        "[lock]\nbackoff_seconds = [1]",
        "[locks]\nattempts = 3",
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with fails(Status.NTE_INVALID_PARAMETER) as failed:
        read_pin_rules([tmp_path])
    assert str(tmp_path / FILE_NAME) in failed.value.cause
