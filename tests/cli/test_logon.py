"""``keyiso logon`` against real services: for oneself, and as root for somebody else."""

import json
import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from keyiso.cli._as_user import as_user
from keyiso.cli._logon_chain import Logon, _assertion
from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import create_passport_key, enrol_pin, get_container, reset_pin
from keyiso.passport.pam import PamExit
from keyiso.status import Status
from tests.cli.command import Ended, keyiso, on_terminal
from tests.conformance.conftest import homes, python  # noqa: F401
from tests.conformance.readable_tree import SITE
from tests.conformance.statuses import fails
from tests.conformance.world import ALICE, BOB, SystemInstance, World
from tests.instance import RunningInstance, in_use
from tests.passport.conftest import NEW, RIGHT, WRONG, pin

ME = pwd.getpwuid(os.geteuid()).pw_name
STEPS = {"container", "key", "nonce", "assertion", "verification"}


def log_on(user: str, text: str, *options: str, interpreter: Path | None = None) -> Ended:
    arguments = ("logon", user, "--pin-stdin", *options)
    return keyiso(*arguments, stdin=f"{text}\n".encode(), interpreter=interpreter)


@pytest.fixture
def enrolled(instance: RunningInstance) -> Binding:
    """As `keyiso passport enroll` leaves it."""
    binding = bind_process(os.environ, service="passport")
    enrol_pin(binding, pin(RIGHT))
    create_passport_key(binding, pin(RIGHT), "logon")
    return binding


def test_the_right_pin_logs_on_and_each_step_is_told(enrolled: Binding) -> None:
    ended = log_on(ME, RIGHT, "--json")

    assert ended.code == 0, ended.text
    assert (ended.json["user"], ended.json["uid"]) == (ME, os.geteuid())
    assert ended.json["milliseconds"].keys() == STEPS
    verbose = log_on(ME, RIGHT, "--verbose").text
    assert verbose.startswith(f"{ME} is logged on.\n")
    assert all(step in verbose for step in STEPS)


def test_a_wrong_pin_logs_nobody_on_and_locks_in_the_end(enrolled: Binding) -> None:
    for left in (4, 3, 2, 1):
        ended = log_on(ME, WRONG)
        assert ended.code == 1
        assert f"before it is locked: {left}" in ended.errors
        assert get_container(enrolled).attempts_left == left
    assert "is locked now" in log_on(ME, WRONG).errors
    code, seen = on_terminal("logon", ME)  # nobody is asked

    assert code == 1
    assert b"NTE_AUTHENTICATION_IGNORED" in seen
    assert b"PIN:" not in seen


def test_who_has_no_pin_is_told_before_being_asked(instance: RunningInstance) -> None:
    code, seen = on_terminal("logon", ME)

    assert code == 3
    assert b"NTE_NOT_FOUND" in seen
    assert b"PIN:" not in seen
    assert log_on("nobody-of-that-name", RIGHT).code == 3


def test_a_key_that_a_reset_has_lost_logs_nobody_on(enrolled: Binding) -> None:
    reset_pin(enrolled, pin(NEW))
    ended = log_on(ME, NEW)

    assert ended.code == 3
    assert "keyiso passport change-pin" in ended.errors


def test_an_assertion_is_believed_once(enrolled: Binding) -> None:
    logon = Logon(ME)
    key = logon.check_ready()
    claims = logon.verifier.begin(ME)
    token = _assertion(enrolled, pin(RIGHT), os.urandom(16), claims)

    assert logon.verifier.verify(token, ME, key) == claims
    with fails(Status.ERROR_LOGON_FAILURE):
        logon.verifier.verify(token, ME, key)


# --- as root for somebody else -------------------------------------------------------------------

ENROL = f"""
from keyiso.client.binding import bind_process
from keyiso.client.passport import create_passport_key, enrol_pin
from keyiso.crypto.pin import Pin
binding = bind_process(os.environ, service="passport")
enrol_pin(binding, Pin(bytearray(b"{RIGHT}")))
tell(bool(create_passport_key(binding, Pin(bytearray(b"{RIGHT}")), "logon")))
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")


@pytest.fixture(scope="module")
def world(python: Path, homes: Path) -> Iterator[World]:  # noqa: F811
    with in_use(SystemInstance(homes / "system", python)) as running:
        shutil.copytree(Path(click.__file__).parent, python.parents[1] / SITE / "click")
        one = World(python, running.home)
        assert one.run(ALICE, ENROL)
        yield one


@needs_root
def test_root_logs_a_user_on_with_that_users_pin_and_no_other(world: World) -> None:
    ended = log_on(ALICE, RIGHT, "--json", interpreter=world.python)

    assert ended.code == 0, ended.text
    assert ended.json["user"] == ALICE
    assert ended.json["uid"] == pwd.getpwnam(ALICE).pw_uid
    wrong = log_on(ALICE, WRONG, interpreter=world.python)
    assert wrong.code == 1
    assert "before it is locked: 4" in wrong.errors
    assert log_on(ALICE, RIGHT, interpreter=world.python).code == 0
    assert log_on(BOB, RIGHT, interpreter=world.python).code == 3
    assert log_on(ME, RIGHT, interpreter=world.python).code == 3


@needs_root
def test_root_logs_a_user_on_for_pam(world: World) -> None:
    def code(user: str, *options: str, typed: str = "") -> int:
        environ = {**os.environ, "PAM_TYPE": "auth", "PAM_USER": user}
        arguments = ("logon", "--pam", *options)
        return keyiso(
            *arguments, stdin=typed.encode(), environ=environ, interpreter=world.python
        ).code

    assert code(ALICE, "--ready") == code(ALICE, typed=RIGHT) == PamExit.SUCCESS
    assert code(ALICE, typed=WRONG) == PamExit.AUTH_ERR
    assert code(ALICE, typed=RIGHT) == PamExit.SUCCESS
    assert code(BOB, "--ready") == code(BOB, typed=RIGHT) == PamExit.AUTHINFO_UNAVAIL


@needs_root
def test_no_process_of_the_user_can_debug_the_child_that_became_the_user() -> None:
    user = pwd.getpwnam(ALICE)

    def look() -> bytes:
        owner = os.stat("/proc/self/mem").st_uid  # root, of what nobody may debug (proc(5))
        return json.dumps(
            [*os.getresuid(), *os.getresgid(), sorted(os.getgroups()), owner]
        ).encode()

    assert json.loads(as_user(user, look)) == [
        *[user.pw_uid] * 3,
        *[user.pw_gid] * 3,
        sorted(os.getgrouplist(ALICE, user.pw_gid)),
        0,
    ]


@needs_root
def test_a_user_logs_no_other_user_on(world: World) -> None:
    told = world.run(
        BOB,
        f"""
from keyiso.cli._logon_chain import Logon
tell(outcome(lambda: Logon({ALICE!r}).check_ready()))
""",
    )
    assert told == "NTE_PERM"
