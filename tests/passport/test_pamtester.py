"""The lines of docs/pam.md as pamtester tries them: with an /etc/pam.d and a password file that
nobody else sees, the real command and a real instance."""

import shutil
import subprocess
from dataclasses import dataclass

import pytest

from tests.instance import RunningInstance
from tests.passport.test_pam import (
    DEADLINE_SECONDS,
    LINES,
    LOGON,
    PASSWORD,
    READY,
    Machine,
    shadow_of,
)
from tests.passport.test_pam_logon import (
    ME,
    PIN,
    WRONG,
    enrolled,
    lock,
    machine,
    runs,
)

__all__ = ["enrolled", "machine"]

pytestmark = pytest.mark.skipif(not shutil.which("pamtester"), reason="pamtester is not installed")


@dataclass(frozen=True)
class Tried:
    """What came of a try, and what the person saw."""

    logged_on: bool
    asked: int
    invited: bool
    """It was a PIN that was asked for."""


@dataclass(frozen=True)
class Login:
    """A service with the page's lines, and a password of the machine's behind them."""

    machine: Machine
    mounting: str

    def tried(self, *typed: str, user: str = ME) -> Tried:
        trying = ("pamtester", "service", user, "authenticate", "setcred(PAM_ESTABLISH_CRED)")
        ended = subprocess.run(
            ["unshare", "-m", "sh", "-c", f'{self.mounting} && exec "$@"', "sh", *trying],
            input="".join(f"{line}\n" for line in typed),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        seen = ended.stdout + ended.stderr
        assert seen.count("successfully") == (0 if ended.returncode else 2), seen
        return Tried(not ended.returncode, seen.count("Password: "), "Enter your PIN." in seen)

    def falls_back_on_the_password(self) -> None:
        assert self.tried(PASSWORD) == Tried(True, 1, invited=False)
        assert self.tried(PIN) == Tried(False, 1, invited=False)
        assert runs(self.machine) == [READY, READY]


@pytest.fixture
def login(machine: Machine) -> Login:
    machine.configure(*LINES, module="pam_unix.so nullok nodelay")
    return Login(machine, f"{shadow_of(machine)} && mount --bind {machine.directory} /etc/pam.d")


@pytest.mark.usefixtures("enrolled")
def test_the_right_pin_logs_on(login: Login) -> None:
    assert login.tried(PIN) == Tried(True, 1, invited=True)
    assert runs(login.machine) == [READY, LOGON]


@pytest.mark.usefixtures("enrolled")
@pytest.mark.parametrize("typed", [WRONG, PASSWORD], ids=["wrong", "password"])
def test_a_wrong_pin_is_refused_and_the_password_is_none(login: Login, typed: str) -> None:
    assert login.tried(typed, PASSWORD) == Tried(False, 1, invited=True)
    assert runs(login.machine) == [READY, LOGON]


@pytest.mark.usefixtures("enrolled")
def test_with_a_locked_pin_the_password_logs_on(login: Login) -> None:
    lock()
    login.falls_back_on_the_password()


@pytest.mark.usefixtures("enrolled")
def test_with_the_services_down_the_password_logs_on(
    login: Login, instance: RunningInstance
) -> None:
    instance.end()
    login.falls_back_on_the_password()


def test_who_has_no_pin_logs_on_with_the_password(login: Login) -> None:
    login.falls_back_on_the_password()


@pytest.mark.usefixtures("enrolled")
def test_a_user_that_nobody_knows_is_asked_for_a_password_and_has_none(login: Login) -> None:
    for typed in (PIN, PASSWORD):
        assert login.tried(typed, user="nobody-of-that-name") == Tried(False, 1, invited=False)
    assert runs(login.machine) == [READY, READY]
