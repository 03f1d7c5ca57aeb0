"""A PIN is asked for by a real pinentry or on a real terminal, and nothing of it stays."""

import os
import pty
import shutil
import signal
import stat
import termios
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.errors import NCryptError
from keyiso.passport.dialogue import PinQuestion, shown
from keyiso.passport.pinentry import Pinentry, pinentry_program, program_in
from keyiso.passport.prompt import PinPrompt, pin_prompt
from keyiso.passport.terminal import Terminal
from keyiso.status import Status
from tests.passport.sitting import Sitting, sitting, typed
from tests.waiting import wait_until

PIN = b"Kan4ri!e83-with-a-tail-that-outlives-5free"
"""Freed memory is written into at its beginning."""
CANARIES = (PIN[:10], PIN[-10:])
NONE = "/nowhere/pinentry"
"""No pinentry, so that the terminal is asked on."""

ENTERS = {"tty": b"\n", "curses": b"\r"}
"""What the key Enter sends, and curses wants to see."""


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return str(path)


ANSWERING = """echo "OK ready"
while read -r line; do case "$line" in GETPIN) %s ;; *) echo OK ;; esac; done
"""


@pytest.fixture(params=["terminal", "tty", "curses"])
def way(request: pytest.FixtureRequest) -> str:
    """The terminal itself, and two pinentries that ask on one."""
    kind: str = request.param
    if kind != "terminal" and not shutil.which(f"pinentry-{kind}"):
        pytest.skip(f"pinentry-{kind} is not installed")
    return kind


def program_of(way: str) -> str:
    return NONE if way == "terminal" else shutil.which(f"pinentry-{way}") or NONE


def enter(way: str) -> bytes:
    return ENTERS.get(way, b"\n")


def prompt_of(way: str) -> str:
    """What stands where the PIN is typed."""
    return "PIN ____" if way == "curses" else "PIN: "


def test_a_pin_that_is_typed_is_got_and_not_shown(way: str) -> None:
    with sitting(program=program_of(way)) as one:
        one.wait_for(prompt_of(way))
        assert b"Log on to host" in one.watch()
        one.type(PIN + enter(way))
        assert one.outcome() == typed(PIN)
        assert one.echo
        assert PIN not in one.watch()


def places(one: Sitting) -> Iterator[bytes]:
    """All that others see of a program, and its memory."""
    for name in ("environ", "cmdline", "comm"):
        yield Path(f"/proc/{one.process.pid}/{name}").read_bytes()
    yield one.watch()  # its log, too
    yield from one.memory()


def canaries_in(one: Sitting) -> list[bytes]:
    return [canary for place in places(one) for canary in CANARIES if canary in place]


def test_nothing_of_a_pin_stays_when_it_is_wiped(way: str) -> None:
    with sitting(program=program_of(way)) as one:
        one.wait_for(prompt_of(way))
        one.type(PIN + enter(way))
        assert one.outcome() == typed(PIN)
        assert canaries_in(one) == []


def test_a_pin_that_is_not_wiped_would_be_found(way: str) -> None:
    with sitting(program=program_of(way), keep=True) as one:
        one.wait_for(prompt_of(way))
        one.type(PIN + enter(way))
        one.outcome()
        assert {*canaries_in(one)} == {*CANARIES}


def test_the_end_of_input_cancels() -> None:
    for program in (NONE, *filter(None, [shutil.which("pinentry-tty")])):
        with sitting(program=program) as one:
            one.wait_for("PIN: ")
            one.type(b"\x04")
            assert one.outcome()["status"] == Status.NTE_USER_CANCELLED
            assert one.echo


def test_control_c_interrupts_and_the_terminal_is_as_before(way: str) -> None:
    with sitting(program=program_of(way)) as one:
        one.wait_for(prompt_of(way))
        one.type(PIN + b"\x03")
        assert one.outcome() == {"interrupted": True}
        assert one.echo
        assert canaries_in(one) == []


def test_nobody_types_and_the_prompt_ends(way: str) -> None:
    with sitting(program=program_of(way), timeout=1) as one:
        one.wait_for(prompt_of(way))
        assert one.outcome()["status"] == Status.ERROR_TIMEOUT
        assert one.echo


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_and_the_terminal_is_as_before(
    way: str, number: signal.Signals
) -> None:
    with sitting(program=program_of(way), job=True) as one:
        one.wait_for("PIN")
        os.kill(one.pid_of_job, number)
        wait_until(lambda: f"ended with -{number}".encode() in one.watch(), "the end")
        assert one.echo
        wait_until(lambda: one.processes == {one.process.pid}, "the end of the pinentry")


def test_a_stopped_program_shows_what_is_typed_and_hides_it_again(way: str) -> None:
    with sitting(program=program_of(way), job=True) as one:
        one.wait_for(prompt_of(way))
        job = one.pid_of_job
        one.type(b"\x1a")
        wait_until(lambda: one.processes == {one.process.pid, *stopped(one)}, "the stop")
        assert one.echo
        os.killpg(job, signal.SIGCONT)
        wait_until(lambda: not stopped(one) and not one.echo, "what is typed to be hidden")
        one.wait_for(prompt_of(way), times=1 if way == "tty" else 2)
        one.type(PIN + enter(way))
        assert one.outcome() == typed(PIN)
        assert one.echo
        assert PIN not in one.watch()


def stopped(one: Sitting) -> set[int]:
    return {pid for pid in one.processes if state_of(pid) == "T"}


def state_of(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text.rpartition(")")[2].split()[0]


def test_what_is_no_pin_is_asked_for_again(way: str) -> None:
    with sitting(program=program_of(way)) as one:
        for count, text in enumerate((b"123", b"1" * 200, PIN), start=1):
            one.wait_for(prompt_of(way), times=count)
            assert ("", "too short", "too long")[count - 1].encode() in one.watch()
            one.type(text + enter(way))
        assert one.outcome() == typed(PIN)


def test_after_some_rounds_it_is_over() -> None:
    with sitting(program=NONE) as one:
        for count in range(3):
            one.wait_for("PIN: ", times=count + 1)
            one.type(b"12 34\n")
        assert one.outcome()["status"] == Status.NTE_INVALID_PARAMETER


def test_a_new_pin_is_typed_twice_and_follows_the_policy() -> None:
    with sitting(program=NONE, new=True) as one:
        one.wait_for("PIN: ")
        one.type(b"123456\n")
        one.wait_for("equal steps")
        one.wait_for("PIN: ", times=2)
        one.type(PIN + b"\n")
        one.wait_for("PIN again: ")
        one.type(PIN[:-1] + b"\n")
        one.wait_for("Two different PINs")
        one.wait_for("PIN: ", times=3)
        one.type(PIN + b"\n")
        one.wait_for("PIN again: ", times=2)
        one.type(PIN + b"\n")
        assert one.outcome() == typed(PIN)
        assert canaries_in(one) == []


def test_a_wrong_pin_is_told_with_the_attempts_that_are_left(way: str) -> None:
    with sitting(program=program_of(way), left=3) as one:
        one.wait_for(prompt_of(way))
        wait_until(lambda: b"3 more wrong ones" in one.watch(), "the attempts left")


@pytest.mark.parametrize("text", ["key " * 1000, "key\n" * 1000, ("key " * 20 + "\n") * 20])
def test_what_others_write_is_cut(way: str, text: str) -> None:
    with sitting(program=program_of(way), text=text) as one:
        one.wait_for(prompt_of(way))
        assert 0 < one.watch().count(b"key") <= limits.PROMPT_CHARACTERS / 4
        one.type(PIN + enter(way))
        assert one.outcome() == typed(PIN)


def test_a_line_that_others_write_is_cut() -> None:
    assert shown("k" * 1000) == "k" * limits.PROMPT_CHARACTERS


def test_what_others_write_cannot_command_the_terminal(way: str) -> None:
    with sitting(program=program_of(way), text="key \x1b]0;owned\x07\r\u202eteg") as one:
        one.wait_for(prompt_of(way))
        seen = one.watch()
        assert b"owned" in seen
        assert b"\x1b]0;" not in seen
        assert "\u202e".encode() not in seen


# --- which way ----------------------------------------------------------------------------------


def test_without_any_way_it_is_a_silent_context() -> None:
    with sitting({"DISPLAY": ":0"}, terminal=False, program=NONE) as one:
        outcome = one.outcome()
        assert outcome["status"] == Status.NTE_SILENT_CONTEXT
        assert NONE in outcome["cause"]
        assert "no terminal" in outcome["cause"]


def test_a_pinentry_that_has_nowhere_to_ask_is_passed_over() -> None:
    program = shutil.which("pinentry-tty")
    if not program:
        pytest.skip("pinentry-tty is not installed")
    with sitting(terminal=False, program=program) as one:
        outcome = one.outcome()
        assert outcome["status"] == Status.NTE_SILENT_CONTEXT
        assert "no desktop" in outcome["cause"]


def test_a_desktop_needs_no_terminal(tmp_path: Path) -> None:
    program = script(tmp_path / "pinentry", ANSWERING % "echo D 482915; echo OK")
    with sitting({"WAYLAND_DISPLAY": "wayland-0"}, terminal=False, program=program) as one:
        assert one.outcome() == typed(b"482915")


def test_a_silent_prompt_asks_nobody_even_where_it_could() -> None:
    with sitting(silent=True) as one:
        assert one.outcome()["status"] == Status.NTE_SILENT_CONTEXT
        assert b"PIN" not in one.watch()


@pytest.mark.parametrize(
    ("answering", "told"),
    [
        ("exit 1", "ended before it answered"),
        ("echo what", "answered what nobody asked for"),
        (ANSWERING % "echo D %%4; echo OK", "wrong escape"),
        (ANSWERING % "head -c 2000 /dev/zero", "ASSUAN_LINE_BYTES"),
        (ANSWERING % "while echo S x; do :; done", "ASSUAN_ANSWER_LINES"),
        (ANSWERING % "echo 'ERR 83886246 broken'", "broken"),
    ],
)
def test_a_broken_pinentry_leaves_the_terminal(tmp_path: Path, answering: str, told: str) -> None:
    program = script(tmp_path / "pinentry", answering)
    with sitting(program=program) as one:
        one.wait_for("PIN: ")
        one.type(PIN + b"\n")
        assert one.outcome() == typed(PIN)
    with sitting({"DISPLAY": ":0"}, program=program, terminal=False) as one:
        assert told in one.outcome()["cause"]


def test_a_pinentry_gets_what_it_asks_with_and_no_leave_to_keep_a_pin(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = script(
        tmp_path / "pinentry",
        f"""echo OK
while read -r line; do
    echo "$line" >>{log}
    case "$line" in
        OPTION*) echo 'ERR 83886254 unknown' ;;
        GETPIN) echo 'S PASSWORD_FROM_NOWHERE'; echo 'D 48%32915'; echo OK ;;
        *) echo OK ;;
    esac
done
""",
    )
    with sitting(program=program, text="100% of\nit", left=1) as one:
        assert one.outcome() == typed(b"482915")

    asked = log.read_text().splitlines()
    assert "OPTION ttyname=/dev/tty" in asked
    assert "OPTION ttytype=xterm" in asked
    assert "SETDESC 100%25 of%0Ait" in asked
    assert any(line.startswith("SETERROR The PIN is wrong. After one more") for line in asked)
    assert asked[-1] == "GETPIN"
    assert "cache" not in log.read_text()


def test_a_pinentry_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyiso.limits.PINENTRY_ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("DISPLAY", ":0")
    pid = tmp_path / "pid"
    program = script(tmp_path / "pinentry", f"echo $$ >{pid}; exec sleep 1000")
    with pytest.raises(NCryptError) as caught:
        PinPrompt([Pinentry(program, os.environ)]).ask(PinQuestion(description="a test"))
    assert "did not answer" in caught.value.cause
    assert not Path("/proc", pid.read_text().strip()).exists()


def test_the_program_is_the_one_that_gpg_asks_with(tmp_path: Path) -> None:
    environ = {"GNUPGHOME": str(tmp_path), "PATH": str(tmp_path)}
    assert pinentry_program(environ) is None
    found = script(tmp_path / "pinentry", "")
    assert pinentry_program(environ) == found
    config = tmp_path / "gpg-agent.conf"
    config.write_text("# pinentry-program /no\nmax-cache-ttl 1\n  pinentry-program  /opt/p q \n")
    assert pinentry_program(environ) == "/opt/p q"
    assert pinentry_program({**environ, "GNUPGHOME": "", "HOME": "/nowhere"}) == found


def test_a_configuration_that_others_can_write_does_not_count(tmp_path: Path) -> None:
    config = tmp_path / "gpg-agent.conf"
    config.write_text("pinentry-program /opt/theirs\n")
    config.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IWOTH)
    assert pinentry_program({"GNUPGHOME": str(tmp_path), "PATH": ""}) is None


@pytest.mark.parametrize("config", [b"pinentry-program pinentry", b"pinentry-program", b"", b"\0"])
def test_no_program_is_read_where_none_is_named(config: bytes) -> None:
    assert program_in(config) is None


def test_a_thread_may_ask() -> None:
    """Where no signal handlers can be set."""
    ours, theirs = pty.openpty()
    try:
        terminal = Terminal(os.ttyname(theirs))
        with ThreadPoolExecutor(1) as thread:
            answer = thread.submit(terminal.read, PinQuestion(description="a test"), 60.0)
            wait_until(lambda: not termios.tcgetattr(ours)[3] & termios.ECHO, "the prompt")
            assert os.read(ours, 100).startswith(b"a test")
            os.write(ours, PIN + b"\n")
            assert answer.result() == PIN
        assert termios.tcgetattr(ours)[3] & termios.ECHO
    finally:
        os.close(ours)
        os.close(theirs)


def test_silence_needs_no_terminal() -> None:
    with pytest.raises(NCryptError) as caught:
        pin_prompt({}, silent=True).ask(PinQuestion(description="a test"))
    assert caught.value.status == Status.NTE_SILENT_CONTEXT
