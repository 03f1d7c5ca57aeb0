"""The lines of docs/pam.md do what the page says, with the real PAM and a stand-in for keyiso."""

import ctypes
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import termios
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keyiso import limits
from keyiso.passport.pam import PamExit, exit_of, pam_user, read_pin
from keyiso.status import Status
from tests.conformance.statuses import fails
from tests.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "pam.md").read_text("utf-8")
LINES = re.findall(r"^ {4}(auth .*)$", PAGE, re.MULTILINE)
PAM_CLIENT = Path(__file__).with_name("pam_client.py")
PIN, PASSWORD = "Kan4ri!e83", "a password"
SUCCESS, SYSTEM_ERR, AUTH_ERR = 0, 4, 7
DEADLINE_SECONDS = 60

COMMAND = """#!{python} -I
import json, os, sys
from pathlib import Path
from keyiso.errors import NCryptError
from keyiso.passport.pam import exit_of, pam_user, read_pin
from keyiso.status import Status

here = Path(__file__).parent
state = json.loads((here / "state").read_text())
with (here / "log").open("a") as log:
    log.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
try:
    ready = sys.argv[1:] == ["logon", "--pam", "--ready"]
    status = state["ready" if ready else "logon"]
    if state.get("killed"):
        os.kill(os.getpid(), 9)
    if pam_user(os.environ) not in state["enrolled"]:
        status = Status.NTE_NOT_FOUND
    elif ready and not status:
        print("Enter your PIN.")
    elif not ready and not status:
        with read_pin(0) as pin:
            right = pin.characters == state["pin"].encode()
        status = Status.ERROR_SUCCESS if right else Status.NTE_INCORRECT_PASSWORD
except NCryptError as error:
    status = error.status
sys.exit(exit_of(status))
"""
"""Has the contract of ``keyiso logon --pam``, and does as it is told by a file."""

ASKING_FOR_A_PASSWORD = """#!/bin/sh
echo "$PAM_USER" >>{log}
[ "$(tr -d '\\0')" = "{password}" ]
"""

COMMON_AUTH = """
auth [success=1 default=ignore] {module}
auth requisite pam_deny.so
auth required pam_permit.so
"""
"""Debian's, around a module that asks for the password."""


def why_no_pam() -> str:
    try:
        pam = ctypes.CDLL("libpam.so.0")
    except OSError:
        return "libpam is not installed"
    if not hasattr(pam, "pam_start_confdir"):
        return "libpam is older than 1.4"
    return ""


needs_pam = pytest.mark.skipif(bool(why_no_pam()), reason=why_no_pam())


@dataclass
class Machine:
    """Its PAM configuration, and what its commands do and have seen."""

    directory: Path

    def set(self, **state: Any) -> None:
        usual = {"pin": PIN, "enrolled": ["root"], "ready": 0, "logon": 0}
        (self.directory / "state").write_text(json.dumps({**usual, **state}))

    def script(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def configure(self, *lines: str, module: str | None = None) -> None:
        """A service with these lines, as they stand on the page."""
        common = self.directory / "common-auth"
        asking = f"pam_exec.so quiet expose_authtok {self.directory / 'password'}"
        common.write_text(COMMON_AUTH.format(module=module or asking))
        text = "\n".join(lines).replace("/usr/bin/keyiso", str(self.directory / "keyiso"))
        # libpam 1.5.2 has pam_start_confdir look for such files in /etc/pam.d all the same.
        text = re.sub(r"\bcommon-auth\b", str(common), text)
        (self.directory / "service").write_text(f"{text}\naccount required pam_permit.so\n")

    def log_on(self, *answers: str, user: str = "root", before: str = "") -> dict[str, Any]:
        asking = [sys.executable, str(PAM_CLIENT), str(self.directory), "service", user, *answers]
        if before:
            asking = ["unshare", "-m", "sh", "-c", f'{before} && exec "$@"', "sh", *asking]
        ended = subprocess.run(
            asking, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return dict(json.loads(ended.stdout))

    @property
    def runs(self) -> list[list[str]]:
        """The command's arguments, run by run."""
        return [arguments for arguments, _ in self._log()]

    @property
    def environs(self) -> list[dict[str, str]]:
        return [environ for _, environ in self._log()]

    def _log(self) -> list[Any]:
        log = self.directory / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def passwords_asked(self) -> int:
        log = self.directory / "passwords"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    one = Machine(tmp_path)
    one.script("keyiso", COMMAND.format(python=sys.executable))
    asking = ASKING_FOR_A_PASSWORD.format(log=tmp_path / "passwords", password=PASSWORD)
    one.script("password", asking)
    one.configure(*LINES)
    one.set()
    return one


def result(ended: dict[str, Any]) -> tuple[bool, int]:
    """Logged on in both of PAM's steps, and how often something was asked."""
    done = ended["authenticate"] == SUCCESS
    if done:
        assert ended["setcred"] == SUCCESS
    return done, ended["asked"]


def shadow_of(machine: Machine) -> str:
    """A password file of the machine's own, in which `PASSWORD` is root's: how it is mounted."""
    if os.getuid() != 0 or not shutil.which("openssl"):
        pytest.skip("it takes root, and openssl")
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    shadow = machine.directory / "shadow"
    shadow.touch(stat.S_IRUSR | stat.S_IWUSR)
    shadow.write_text(f"root:{hashed}:19000:0:99999:7:::\n")
    mounting = f"mount --bind {shadow} /etc/shadow"
    if subprocess.run(["unshare", "-m", "sh", "-c", mounting], capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    return mounting


READY, LOGON = ["logon", "--pam", "--ready"], ["logon", "--pam"]

# --- what the page says -------------------------------------------------------------------------


@needs_pam
def test_the_right_pin_logs_on_and_no_password_is_asked_for(machine: Machine) -> None:
    ended = machine.log_on(PIN)

    assert result(ended) == (True, 1)
    assert ended["told"] == ["Enter your PIN."]
    assert machine.runs == [READY, LOGON]
    assert machine.passwords_asked == 0


@needs_pam
@pytest.mark.parametrize("typed", ["573926", PASSWORD, "", PIN + "x", "1" * 600])
def test_a_wrong_pin_is_refused_and_not_tried_as_a_password(machine: Machine, typed: str) -> None:
    ended = machine.log_on(typed, PASSWORD)

    assert result(ended) == (False, 1)
    assert machine.runs == [READY, LOGON]
    assert machine.passwords_asked == 0


@needs_pam
@pytest.mark.parametrize(
    "state",
    [
        {"ready": Status.NTE_AUTHENTICATION_IGNORED},
        {"ready": Status.KEYISO_E_SERVICE_UNAVAILABLE},
        {"enrolled": []},
        {"killed": True},
    ],
    ids=["locked", "no service", "not enrolled", "killed"],
)
@pytest.mark.parametrize(("typed", "logged_on"), [(PASSWORD, True), ("wrong", False), (PIN, False)])
def test_where_no_pin_can_decide_the_password_is_asked_for(
    machine: Machine, state: dict[str, Any], typed: str, logged_on: bool
) -> None:
    machine.set(**state)
    ended = machine.log_on(typed)

    assert result(ended) == (logged_on, 1)
    assert machine.runs == [READY]
    assert machine.passwords_asked == 1
    assert ended["told"] == []


@needs_pam
@pytest.mark.parametrize("typed", [PASSWORD, "wrong"])
def test_without_the_command_the_password_is_asked_for(machine: Machine, typed: str) -> None:
    (machine.directory / "keyiso").unlink()

    assert result(machine.log_on(typed)) == (typed == PASSWORD, 1)


@needs_pam
def test_a_user_that_nobody_knows_is_asked_for_a_password(machine: Machine) -> None:
    assert result(machine.log_on("wrong", user="nobody-of-that-name")) == (False, 1)
    assert machine.runs == [READY]
    assert machine.passwords_asked == 1


@needs_pam
@pytest.mark.parametrize(
    "status", [Status.NTE_AUTHENTICATION_IGNORED, Status.KEYISO_E_SERVICE_UNAVAILABLE]
)
def test_what_happens_after_the_pin_was_asked_for_refuses_once(
    machine: Machine, status: Status
) -> None:
    machine.set(logon=status)
    assert result(machine.log_on(PIN, PASSWORD)) == (False, 1)
    machine.set(ready=status)
    assert result(machine.log_on(PASSWORD)) == (True, 1)


@needs_pam
def test_without_the_module_the_password_is_asked_for(machine: Machine) -> None:
    machine.configure(*(line.replace("pam_exec.so", "pam_is_gone.so") for line in LINES))

    assert result(machine.log_on(PASSWORD)) == (True, 1)
    assert result(machine.log_on("wrong")) == (False, 1)


@needs_pam
def test_done_instead_of_a_jump_would_log_nobody_on(machine: Machine) -> None:
    """Why the page has four lines."""
    machine.configure(*(line.replace("success=1", "success=done") for line in LINES))
    ended = machine.log_on(PIN)

    assert ended["authenticate"] == SUCCESS
    assert ended["setcred"] != SUCCESS


@needs_pam
@pytest.mark.parametrize(("typed", "logged_on"), [(PASSWORD, True), ("wrong", False), (PIN, False)])
def test_the_password_may_be_that_of_the_machine(
    machine: Machine, typed: str, logged_on: bool
) -> None:
    """By pam_unix, which sees a password file of the test's own and nobody else does."""
    own_shadow = shadow_of(machine)
    machine.configure(*LINES, module="pam_unix.so nullok")
    machine.set(ready=Status.NTE_AUTHENTICATION_IGNORED)

    ended = machine.log_on(typed, before=own_shadow)
    assert result(ended) == (logged_on, 1)
    assert ended["authenticate"] == (SUCCESS if logged_on else AUTH_ERR)


# --- what pam_exec does -------------------------------------------------------------------------


@needs_pam
def test_pam_exec_makes_one_failure_of_all_exit_codes(machine: Machine) -> None:
    machine.script("ends", f'#!/bin/sh\nexit "$(cat {machine.directory / "code"})"\n')
    machine.configure(f"auth required pam_exec.so quiet {machine.directory / 'ends'}")
    for code in (0, 1, 7, 9, 10, 11, 25, 255):
        (machine.directory / "code").write_text(str(code))
        ended = machine.log_on()
        assert ended["authenticate"] == (SYSTEM_ERR if code else SUCCESS)


@needs_pam
@pytest.mark.parametrize("typed", [PIN, "", "p" * 600])
def test_pam_exec_gives_what_was_typed_and_perhaps_a_zero(machine: Machine, typed: str) -> None:
    got = machine.directory / "got"
    machine.script("reads", f"#!/bin/sh\ncat >{got}\n")
    machine.configure(f"auth required pam_exec.so expose_authtok {machine.directory / 'reads'}")
    machine.log_on(typed)

    given = got.read_bytes().removesuffix(b"\0")
    assert given == typed.encode()[: len(given)]
    assert len(given) >= min(len(typed), limits.PIN_CHARACTERS + 1)


@needs_pam
def test_a_pin_is_in_no_argument_and_no_environment(machine: Machine) -> None:
    machine.log_on(PIN)

    assert PIN not in (machine.directory / "log").read_text()
    assert [environ["PAM_USER"] for environ in machine.environs] == ["root", "root"]
    for environ in machine.environs:
        assert {name for name in environ if name != "LC_CTYPE"} <= {
            "PAM_SERVICE",
            "PAM_TYPE",
            "PAM_USER",
        }


# --- the module ---------------------------------------------------------------------------------


def test_the_table_of_the_page_is_the_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| PAM_(\w+) \|", PAGE, re.MULTILINE)

    assert rows == [(str(int(one)), one.name) for one in PamExit]


WRONG = {
    Status.NTE_INCORRECT_PASSWORD,
    Status.NTE_INVALID_PARAMETER,
    Status.NTE_BAD_SIGNATURE,
    Status.ERROR_LOGON_FAILURE,
}


@pytest.mark.parametrize("status", list(Status))
def test_a_status_has_its_exit_code_and_one_is_success(status: Status) -> None:
    expected = PamExit.AUTH_ERR if status in WRONG else PamExit.AUTHINFO_UNAVAIL
    assert exit_of(status) == (PamExit.SUCCESS if status == 0 else expected)


def test_a_status_that_nobody_knows_is_no_success() -> None:
    assert exit_of(0x12345678) == PamExit.AUTHINFO_UNAVAIL


def written(data: bytes) -> int:
    ours, theirs = os.pipe()
    with open(theirs, "wb") as pipe:
        pipe.write(data)
    return ours


@pytest.mark.parametrize(
    "data", [PIN.encode(), PIN.encode() + b"\0", b"4" * 127, b"4" * 127 + b"\0"]
)
def test_a_pin_is_read_with_and_without_its_zero(data: bytes) -> None:
    with open(written(data), "rb") as pipe, read_pin(pipe.fileno()) as pin:
        assert pin.characters == data.removesuffix(b"\0")


def test_a_pin_that_comes_in_pieces_is_read_whole() -> None:
    ours, theirs = os.pipe()

    def write() -> None:
        with open(theirs, "wb", buffering=0) as pipe:
            pipe.write(b"482")
            wait_until(lambda: unread(ours) == 0, "the first piece's reading")
            pipe.write(b"915")

    with open(ours, "rb") as pipe, ThreadPoolExecutor(1) as writer:
        written = writer.submit(write)
        with read_pin(pipe.fileno()) as pin:
            assert pin.characters == b"482915"
        written.result()


def unread(pipe: int) -> int:
    """Bytes that wait in a pipe."""
    found = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, found)
    return found[0]


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"123\0", b"4829\0\0", b"48\00029", b"4" * 128, b"4" * 600]
)
def test_what_is_no_pin_is_refused(data: bytes) -> None:
    with open(written(data), "rb") as pipe, fails(Status.NTE_INVALID_PARAMETER):
        read_pin(pipe.fileno())


def test_the_user_is_the_one_that_pam_asks_about() -> None:
    assert pam_user({"PAM_TYPE": "auth", "PAM_USER": "ada"}) == "ada"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PAM_USER": "ada"},
        {"PAM_TYPE": "account", "PAM_USER": "ada"},
        {"PAM_TYPE": "auth"},
        {"PAM_TYPE": "auth", "PAM_USER": ""},
        {"PAM_TYPE": "auth", "PAM_USER": "a" * (limits.LOGON_USER_BYTES + 1)},
    ],
)
def test_without_pam_nobody_is_named(environ: dict[str, str]) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        pam_user(environ)
