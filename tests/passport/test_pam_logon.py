"""The lines of docs/pam.md with the real PAM, the real command and a real instance."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyiso.client.binding import bind_process
from keyiso.client.passport import (
    change_pin,
    create_passport_key,
    enrol_pin,
    get_container,
    reset_pin,
    try_pin,
)
from keyiso.passport.pam import PamExit
from keyiso.status import Status
from tests.cli.command import DEADLINE_SECONDS, KEYISO, keyiso
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.passport.conftest import pin
from tests.passport.test_pam import (
    ASKING_FOR_A_PASSWORD,
    LINES,
    LOGON,
    PASSWORD,
    READY,
    Machine,
    needs_pam,
    result,
)

PIN, WRONG = (f"{name}1-{os.urandom(16).hex()}" for name in "ab")
ME = pwd.getpwuid(os.geteuid()).pw_name

COMMAND = """#!/bin/sh
echo "$@" >>{here}/arguments
env >>{here}/environs
export KEYISO_HOME={home}
exec {python} -I -m keyiso "$@"
"""


@pytest.fixture
def machine(instance: RunningInstance, tmp_path: Path) -> Machine:
    """With a user who has no PIN."""
    one = Machine(tmp_path)
    one.script("keyiso", COMMAND.format(here=tmp_path, home=instance.home, python=sys.executable))
    asking = ASKING_FOR_A_PASSWORD.format(log=tmp_path / "passwords", password=PASSWORD)
    one.script("password", asking)
    one.configure(*LINES)
    return one


@pytest.fixture
def enrolled(machine: Machine) -> Machine:
    binding = bind_process(os.environ, service="passport")
    enrol_pin(binding, pin(PIN))
    create_passport_key(binding, pin(PIN), "logon")
    return machine


def runs(machine: Machine) -> list[list[str]]:
    return [line.split() for line in (machine.directory / "arguments").read_text().splitlines()]


def lock() -> None:
    binding = bind_process(os.environ, service="passport")
    for _ in range(get_container(binding).attempts_left):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(binding, pin(WRONG))


@needs_pam
def test_the_right_pin_logs_on_and_is_in_no_argument_and_no_environment(enrolled: Machine) -> None:
    ended = enrolled.log_on(PIN, user=ME)

    assert result(ended) == (True, 1)
    assert ended["told"] == ["Enter your PIN."]
    assert runs(enrolled) == [READY, LOGON]
    assert enrolled.passwords_asked == 0
    for seen in ("arguments", "environs"):
        assert PIN not in (enrolled.directory / seen).read_text()


@needs_pam
@pytest.mark.parametrize("typed", [WRONG, PASSWORD, "", PIN + "x"])
def test_a_wrong_pin_is_refused_and_not_tried_as_a_password(enrolled: Machine, typed: str) -> None:
    ended = enrolled.log_on(typed, PASSWORD, user=ME)

    assert result(ended) == (False, 1)
    assert ended["told"] == ["Enter your PIN."]
    assert runs(enrolled) == [READY, LOGON]
    assert enrolled.passwords_asked == 0


@needs_pam
def test_who_has_no_pin_is_asked_for_the_password(machine: Machine) -> None:
    asked_for_the_password(machine)


@needs_pam
def test_who_has_locked_the_pin_is_asked_for_the_password(enrolled: Machine) -> None:
    lock()
    asked_for_the_password(enrolled)


@needs_pam
def test_without_services_the_password_is_asked_for_and_none_is_started(
    enrolled: Machine, instance: RunningInstance
) -> None:
    instance.end()
    asked_for_the_password(enrolled)
    assert keyiso("status").code == 6


def asked_for_the_password(machine: Machine) -> None:
    for typed, logged_on in ((PASSWORD, True), (PIN, False)):
        ended = machine.log_on(typed, user=ME)

        assert result(ended) == (logged_on, 1)
        assert ended["told"] == []
    assert runs(machine) == [READY, READY]
    assert machine.passwords_asked == 2


# --- the command by itself ----------------------------------------------------------------------


def code(*options: str, typed: str = "", user: str = ME) -> int:
    """The exit code; it says nothing but the invitation."""
    environ = {**os.environ, "PAM_TYPE": "auth", "PAM_USER": user}
    ended = keyiso("logon", "--pam", *options, stdin=typed.encode(), environ=environ)
    invited = ended.code == PamExit.SUCCESS and "--ready" in options
    assert ended.text == ("Enter your PIN.\n" if invited else "")
    assert ended.errors == ""
    return ended.code


def test_the_exit_codes_are_those_of_the_page(enrolled: Machine) -> None:
    assert code("--ready") == PamExit.SUCCESS
    assert code(typed=PIN) == code(typed=PIN + "\0") == PamExit.SUCCESS
    assert code(typed=WRONG) == code(typed="") == code(typed="1" * 200) == PamExit.AUTH_ERR
    nobody = "nobody-of-that-name"
    assert code("--ready", user=nobody) == PamExit.AUTHINFO_UNAVAIL
    assert code(typed=PIN, user=nobody) == PamExit.AUTHINFO_UNAVAIL
    assert code(typed=PIN, user="") == PamExit.AUTH_ERR
    lock()
    assert code("--ready") == code(typed=PIN) == PamExit.AUTHINFO_UNAVAIL


def test_who_lost_the_key_to_a_reset_logs_on_after_changing_the_pin(enrolled: Machine) -> None:
    binding = bind_process(os.environ, service="passport")
    reset_pin(binding, pin(WRONG))
    assert code(typed=WRONG) == PamExit.AUTHINFO_UNAVAIL
    lines = f"{WRONG}\n{PIN}\n".encode()
    assert keyiso("passport", "change-pin", "--pin-stdin", stdin=lines).code == 0

    assert code(typed=PIN) == PamExit.SUCCESS
    change_pin(binding, pin(PIN), pin(WRONG))
    assert code(typed=PIN) == PamExit.AUTH_ERR


def test_services_that_hang_do_not_have_a_logon_hang(
    enrolled: Machine, instance: RunningInstance
) -> None:
    with stopped(instance):
        assert code("--ready") == PamExit.AUTHINFO_UNAVAIL
        assert code(typed=PIN) == PamExit.AUTHINFO_UNAVAIL
    assert code(typed=PIN) == PamExit.SUCCESS


def test_a_pin_that_never_comes_does_not_have_a_logon_wait_for_ever() -> None:
    environ = {**os.environ, "PAM_TYPE": "auth", "PAM_USER": ME}
    command = [*KEYISO, "logon", "--pam"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environ) as waiting:
        assert waiting.wait(DEADLINE_SECONDS) == PamExit.AUTHINFO_UNAVAIL


@contextmanager
def stopped(instance: RunningInstance) -> Iterator[None]:
    """All of them, the one that would replace the others first."""
    pids = instance.pids()
    everyone = [pids.pop("supervisor"), *pids.values()]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(everyone):
            os.kill(pid, signal.SIGCONT)
