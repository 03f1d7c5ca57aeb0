"""``keyiso events``: the log for people and programs, and its switches."""

import itertools
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keyiso import Key, NCryptError
from keyiso.events.log import EventLog, log_paths
from keyiso.events.records import (
    CHANNEL_SWITCHED,
    KEY_WRITE_SUCCEEDED,
    KEY_WRITTEN,
    OPEN_KEY_FAILED,
    OPERATION_FAILED,
    Event,
    EventType,
)
from keyiso.paths import client_instance
from tests.cli.command import DEADLINE_SECONDS, KEYISO, Ended, assert_reads, keyiso
from tests.instance import RunningInstance

NOON = 1_700_000_000.0
"""2023-11-14T22:13:20Z, in fact."""


class Written:
    """A home without a running keyiso, and a log that this test writes."""

    def __init__(self, home: Path) -> None:
        self.environ = {**os.environ, "KEYISO_HOME": str(home), "TZ": "UTC"}
        self.directory = client_instance(self.environ).events
        self._log: EventLog | None = None

    def write(
        self, kind: EventType = OPEN_KEY_FAILED, at: float = NOON, **values: str | int
    ) -> None:
        self._log = self._log or EventLog(self.directory)
        fields: dict[str, str | int] = dict.fromkeys(kind.fields, 0)
        fields |= {"Status": 0x80090016 if kind.level == 2 else 0, "ProcessName": "nginx"}
        more = {"count": 3} if kind is OPERATION_FAILED else {}
        assert self._log.write(
            Event(kind, at, {**fields, **values}, 1000, "00-trace", (), 4711, more)
        )

    def run(self, *arguments: str) -> Ended:
        return keyiso("events", *arguments, environ=self.environ)

    def shown(self, *arguments: str) -> list[str]:
        """The keys of the events that are shown."""
        ended = self.run("show", "--json", *arguments)
        assert (ended.code, ended.errors) == (0, "")
        return [event["data"]["KeyName"] for event in ended.json["events"]]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "home")


# --- show --------------------------------------------------------------------------------------


def test_events_for_people(written: Written) -> None:
    written.write(KeyName="web")
    written.write(KEY_WRITTEN, NOON + 60.5, KeyName="web")
    written.write(OPERATION_FAILED, NOON + 61, KeyName="web")
    written.write(
        CHANNEL_SWITCHED, NOON + 62, ChannelName="KeyMgmt", OldLevel="information", NewLevel="off"
    )
    ended = written.run("show")

    assert (ended.code, ended.errors) == (0, "")
    status = "NTE_BAD_KEYSET (0x80090016)"
    assert ended.text == (
        f"2023-11-14 22:13:20.000     3  error        opening a key failed: 'web'  {status}"
        "  uid 1000 nginx[4711]\n"
        "2023-11-14 22:14:20.500    21  information  a key was written: 'web'"
        "  uid 1000 nginx[4711]\n"
        "2023-11-14 22:14:21.000     1  error        an operation with a key failed: 'web'"
        f"  {status}  3 times  uid 1000 nginx[4711]\n"
        "2023-11-14 22:14:22.000  1000  information  an event channel was switched:"
        " KeyMgmt from information to off  uid 1000 nginx[4711]\n"
    )


def test_events_for_programs(written: Written) -> None:
    written.write(KeyName="web")
    ended = written.run("show", "--json")

    assert ended.json == {
        "events": [json.loads((written.directory / "events.jsonl").read_text())],
        "damaged_lines": 0,
    }
    assert ended.json["events"][0]["data"]["Status"] == 0x80090016


def test_events_are_chosen(written: Written) -> None:
    for number, (kind, name) in enumerate(
        [
            (OPEN_KEY_FAILED, "a"),
            (KEY_WRITE_SUCCEEDED, "b"),
            (KEY_WRITTEN, "c"),
            (OPERATION_FAILED, "a"),
        ]
    ):
        written.write(kind, NOON + number, KeyName=name)

    assert written.shown() == ["a", "b", "c", "a"]
    assert written.shown("--channel", "KeyMgmt") == ["c"]
    assert written.shown("--channel", "operational") == ["a", "b", "a"]
    assert written.shown("--id", "9", "--id", "21") == ["b", "c"]
    assert written.shown("--level", "error") == ["a", "a"]
    assert written.shown("--level", "information") == ["a", "c", "a"]
    assert written.shown("--level", "verbose") == ["a", "b", "c", "a"]
    assert written.shown("--key", "a", "--id", "1") == ["a"]
    assert written.shown("--key", "nobody") == []
    assert written.shown("--limit", "2") == ["c", "a"]
    assert written.shown("--since", "2023-11-14T22:13:22+00:00") == ["c", "a"]
    assert written.shown("--since", "2023-11-14T22:13:22") == ["c", "a"]  # TZ is UTC
    assert written.shown("--since", "1h") == []
    assert len(written.shown("--since", "999999h")) == 4


@pytest.mark.parametrize("since", ["yesterday", "5 m", "1y", "-3h", "", "99-99-99"])
def test_a_time_that_is_none_is_wrong_usage(written: Written, since: str) -> None:
    assert written.run("show", f"--since={since}").code == 2


def test_without_a_limit_the_last_hundred_are_shown(written: Written) -> None:
    for number in range(150):
        written.write(KeyName=str(number))

    assert written.shown() == [str(number) for number in range(50, 150)]


def test_old_files_are_read_too(written: Written) -> None:
    written.write(KeyName="old")
    current = written.directory / "events.jsonl"
    current.rename(current.with_name("events.jsonl.1"))
    written.write(KeyName="new")

    assert written.shown() == ["old", "new"]


def test_no_name_steers_a_terminal(written: Written) -> None:
    """Names in the log are escaped already; one that an edited log has is escaped here."""
    written.write(KeyName="a\x1b[31m\u202eb", ProcessName="n\r\n2023 forged")
    ended = written.run("show")

    assert ended.text.count("\n") == 1
    assert r"'a\x1b[31m\u202eb'" in ended.text
    assert r"n\r\n2023 forged[4711]" in ended.text
    written.write(KeyName=r"a\x1b")
    assert written.shown("--key", "a\x1b") == [r"a\x1b"]


def test_a_damaged_line_is_counted_and_skipped(written: Written) -> None:
    written.write(KeyName="a")
    with (written.directory / "events.jsonl").open("ab") as file:
        file.write(b"{\xff\n")
    written.write(KeyName="b")
    ended = written.run("show")

    assert [line.split("'")[1] for line in ended.text.splitlines()] == ["a", "b"]
    assert ended.errors == "Damaged lines that were skipped: 1\n"
    assert written.run("show", "--json").json["damaged_lines"] == 1


def test_no_events_and_nothing_is_started(written: Written) -> None:
    ended = written.run("show")

    assert (ended.code, ended.errors) == (0, "")
    assert ended.text == f"No such events in {written.directory}.\n"
    assert not written.directory.exists()


WITHOUT_RIGHTS = """
import locale, os, sys
import keyiso.cli.events.show, keyiso.cli.events.follow
from keyiso.cli._app import app
from keyiso.cli._exit import run
if os.geteuid() == 0:
    os.setuid(65534)
sys.exit(run(app, ["events", sys.argv[1]]))
"""
"""What it imports, another user may not be able to read."""


@pytest.mark.parametrize("command", ["show", "follow"])
def test_who_may_not_read_the_log_is_told_so(written: Written, command: str) -> None:
    written.write(KeyName="a")
    written.directory.chmod(0o700 if os.geteuid() == 0 else 0)
    try:
        ended = subprocess.run(
            [sys.executable, "-c", WITHOUT_RIGHTS, command],
            env=written.environ,
            capture_output=True,
            timeout=DEADLINE_SECONDS,
        )
    finally:
        written.directory.chmod(0o700)

    assert ended.returncode == 8
    text = ended.stderr.decode()
    assert "NTE_PERM" in text
    assert f"may not read the event log in {written.directory}" in text
    assert "root and for the user that keyiso runs as" in text


# --- follow ------------------------------------------------------------------------------------


class Following:
    """``keyiso events follow`` as a process; each of its lines is waited for."""

    def __init__(self, written: Written, *arguments: str) -> None:
        self._written = written
        self._process = subprocess.Popen(
            [*KEYISO, "events", "follow", *arguments],
            env=written.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def begin(self) -> None:
        """Write until it prints: only what comes after it has begun is its own."""
        assert self._process.stdout is not None
        number = 0
        while not select.select([self._process.stdout], [], [], 0.1)[0]:
            self._written.write(KeyName=f"begin {number}")
            number += 1
            assert number < 10 * DEADLINE_SECONDS
        self._written.write(KeyName="begun")
        while "begun" not in self.line():
            pass

    def line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        assert line, self._process.communicate()
        return line

    def error(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.readline().decode()

    def interrupt(self) -> tuple[int, str]:
        self._process.send_signal(signal.SIGINT)
        _, errors = self._process.communicate(timeout=DEADLINE_SECONDS)
        return self._process.returncode, errors.decode()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def following(written: Written, *arguments: str) -> Iterator[Following]:
    found = Following(written, *arguments)
    try:
        yield found
    finally:
        found.end()


def test_follow_prints_what_happens(written: Written) -> None:
    written.write(KeyName="before")
    with following(written) as follow:
        follow.begin()
        written.write(KeyName="one")
        written.write(KeyName="two")
        assert "'one'" in follow.line()
        assert "'two'" in follow.line()
        assert follow.interrupt() == (130, "")


def test_follow_waits_for_a_log(written: Written) -> None:
    assert not written.directory.exists()
    with following(written) as follow:
        follow.begin()
        assert follow.interrupt() == (130, "")


def test_follow_goes_on_over_rotations(written: Written) -> None:
    """The log is renamed and begun anew, again and again; no line is lost or comes twice."""
    with following(written, "--json", "--level", "error") as follow:
        follow.begin()
        for number in range(30):
            written.write(KeyName=str(number))
            if number % 10 == 9:
                _rotate(written.directory)
        names = [json.loads(follow.line())["data"]["KeyName"] for _ in range(30)]
        assert names == [str(number) for number in range(30)]
        assert follow.interrupt() == (130, "")


def _rotate(directory: Path) -> None:
    for newer, older in reversed(list(itertools.pairwise(log_paths(directory)))):
        if newer.exists():
            newer.rename(older)


def test_follow_shows_what_is_wanted(written: Written) -> None:
    with following(written, "--level", "error") as follow:
        follow.begin()
        written.write(KEY_WRITTEN, KeyName="not this one")
        written.write(KeyName="this one")
        assert "'this one'" in follow.line()


def test_follow_says_that_a_line_was_damaged(written: Written) -> None:
    with following(written) as follow:
        follow.begin()
        with (written.directory / "events.jsonl").open("ab") as file:
            file.write(b"nonsense\n")
        written.write(KeyName="next")
        assert "'next'" in follow.line()
        assert follow.error().startswith("Damaged lines: 1;")


# --- switches ----------------------------------------------------------------------------------


def test_channels_are_switched_and_that_is_an_event(instance: RunningInstance) -> None:
    assert_reads(
        keyiso("events", "channels").text,
        """\
CHANNEL      LEVEL
Operational  information
KeyMgmt      information
""",
    )
    assert keyiso("events", "disable", "keymgmt").text == "The channel KeyMgmt is off.\n"
    ended = keyiso("events", "enable", "Operational", "--level", "verbose")
    assert ended.text == "The channel Operational records events up to the level verbose.\n"
    Key.create("web", "ECDSA_P256").close()
    instance.kill("keyiso")

    assert keyiso("events", "channels", "--json").json == {
        "channels": [
            {"name": "Operational", "level": "verbose"},
            {"name": "KeyMgmt", "level": "off"},
        ]
    }
    shown = keyiso("events", "show", "--json").json["events"]
    assert [event["event_id"] for event in shown] == [1000, 1000, 9]
    assert [event["data"]["ProcessName"] for event in shown[:2]] == ["__main__.py"] * 2
    assert keyiso("events", "enable", "KeyMgmt").code == 0
    with pytest.raises(NCryptError):
        Key.open("nobody")
    assert keyiso("events", "show", "--level", "error").text.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("enable", "Security"),
        ("enable", "KeyMgmt", "--level", "loud"),
        ("disable",),
        ("show", "--level", "2"),
        ("show", "--limit", "0"),
        ("show", "--id", "one"),
    ],
    ids=" ".join,
)
def test_wrong_usage(written: Written, arguments: tuple[str, ...]) -> None:
    assert written.run(*arguments).code == 2
    assert not written.directory.exists()
