"""The rules for PINs that an instance is configured with."""

import os
from pathlib import Path

import pytest

from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import change_pin, enrol_pin, get_container, reset_pin, try_pin
from keyiso.status import Status
from tests.cli.command import keyiso, on_terminal
from tests.conformance.statuses import fails
from tests.instance import RunningInstance, in_use
from tests.passport.conftest import WRONG, pin

LOOSE = """
[pin]
minimum_length = 4
simple_patterns = true
history = 2
[lock]
attempts = 2
"""
STRICT = "[pin]\nminimum_length = 10\n"


def configure(home: Path, text: str) -> None:
    (home / "config").mkdir(parents=True, exist_ok=True)
    (home / "config" / "passport.toml").write_text(text)


def passport() -> Binding:
    return bind_process(os.environ, service="passport")


def test_a_container_keeps_the_rules_that_it_was_enrolled_with_until_it_is_reset(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    configure(home, LOOSE)
    with in_use(RunningInstance(home)) as running:
        assert enrol_pin(passport(), pin("1111")).attempts_left == 2
        running.end()
        configure(home, STRICT)
        running.start()
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(passport(), pin(WRONG))
        assert get_container(passport()).attempts_left == 1
        change_pin(passport(), pin("1111"), pin("2222"))
        with fails(Status.NTE_VALIDATION_FAILED):
            change_pin(passport(), pin("2222"), pin("1111"))  # the one before
        with fails(Status.NTE_VALIDATION_FAILED):
            reset_pin(passport(), pin("482915"))  # ten characters from now on
        assert reset_pin(passport(), pin("4829150637")).attempts_left == 5


def test_a_person_is_told_the_rules_before_typing_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    configure(home, STRICT)
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))  # on the terminal, by no pinentry
    (tmp_path / "gpg-agent.conf").write_text("pinentry-program /nonexistent/pinentry\n")
    with in_use(RunningInstance(home)):
        code, seen = on_terminal(
            "passport",
            "enroll",
            prompt=b"New PIN:",
            typed=b"482915\n",
            then=[(b"New PIN:", b"4829150637\n"), (b"New PIN again:", b"4829150637\n")],
        )

    assert code == 0, seen
    assert b"shorter than 10 characters" in seen


def test_keyiso_does_not_start_with_rules_that_cannot_be(tmp_path: Path) -> None:
    home = tmp_path / "home"
    configure(home, "[pin]\nminimum_length = 3\n")
    ended = keyiso("serve", environ={**os.environ, "KEYISO_HOME": str(home)})

    assert ended.code == 1
    assert "passport.toml" in ended.errors
