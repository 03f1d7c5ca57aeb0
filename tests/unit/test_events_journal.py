"""The journal's native protocol, against a socket that reads it as journald does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.errors import Hop
from keyiso.events.journal import Journal, message_id
from keyiso.events.records import (
    EVENT_TYPES,
    KEY_WRITE_SUCCEEDED,
    KEY_WRITTEN,
    OPEN_KEY_FAILED,
    OPERATION_FAILED,
    Event,
    EventType,
)
from tests.journal import JournalSocket
from tests.unit.playing import nothing_left_open


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[JournalSocket]:
    listening = JournalSocket(tmp_path / "socket")
    yield listening
    listening.close()


def event(kind: EventType = OPEN_KEY_FAILED, **changes: str | int) -> Event:
    values: dict[str, str | int] = {name: f"value of {name}" for name in kind.fields}
    return Event(
        kind,
        1.5,
        values | changes,
        1000,
        "00-trace-01",
        (Hop("application", 7, "OpenKey"), Hop("keyiso", 8, "OpenKey")),
        4711,
        {"key_id": "ab" * 16, "count": 3},
    )


def test_a_record_has_the_journals_fields_and_ours(journald: JournalSocket) -> None:
    Journal(journald.path).send(event(Status=0x80090016))

    assert journald.entry() == [
        ("MESSAGE", "opening a key failed"),
        ("PRIORITY", "3"),
        ("SYSLOG_IDENTIFIER", "keyiso"),
        ("MESSAGE_ID", message_id(3)),
        ("KEYISO_PROVIDER", "Microsoft-Windows-Crypto-NCrypt"),
        ("KEYISO_EVENT_ID", "3"),
        ("KEYISO_CHANNEL", "Operational"),
        ("KEYISO_LEVEL", "error"),
        ("KEYISO_TASK", "3"),
        ("KEYISO_KEYWORDS", "1"),
        ("KEYISO_UID", "1000"),
        ("KEYISO_PID", "4711"),
        ("KEYISO_TRACE", "00-trace-01"),
        ("KEYISO_CHAIN", "application[7] OpenKey"),
        ("KEYISO_CHAIN", "keyiso[8] OpenKey"),
        ("KEYISO_KEY_ID", "ab" * 16),
        ("KEYISO_COUNT", "3"),
        ("KEYISO_PROVIDER_NAME", "value of ProviderName"),
        ("KEYISO_KEY_NAME", "value of KeyName"),
        ("KEYISO_STATUS", str(0x80090016)),
        ("KEYISO_PROCESS_NAME", "value of ProcessName"),
    ]


@pytest.mark.parametrize(
    ("kind", "priority"), [(OPERATION_FAILED, "3"), (KEY_WRITTEN, "6"), (KEY_WRITE_SUCCEEDED, "7")]
)
def test_a_level_has_its_priority(journald: JournalSocket, kind: EventType, priority: str) -> None:
    Journal(journald.path).send(event(kind))

    assert dict(journald.entry())["PRIORITY"] == priority


def test_every_event_id_has_a_message_id_of_its_own() -> None:
    ids = [message_id(event_id) for event_id in EVENT_TYPES]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert message_id(1) == "301f573677ac52719fefc3a87cdc9f11"  # never changes


@pytest.mark.parametrize(
    "value", ["two\nlines", "\n", "MESSAGE=forged\nPRIORITY=0\n", "a=b", "", "\x00\x1b[31m", "é"]
)
def test_no_value_can_forge_a_field(journald: JournalSocket, value: str) -> None:
    Journal(journald.path).send(event(KeyName=value))
    found = journald.entry()

    assert dict(found)["KEYISO_KEY_NAME"] == value
    assert [name for name, _ in found].count("MESSAGE") == 1


def test_what_is_no_text_is_sent_escaped(journald: JournalSocket) -> None:
    Journal(journald.path).send(event(KeyName="\ud800"))

    assert dict(journald.entry())["KEYISO_KEY_NAME"] == r"\ud800"


def test_a_record_too_long_for_a_datagram_goes_in_sealed_memory(journald: JournalSocket) -> None:
    """The default send buffer of a socket takes about 200 KiB."""
    long = "k" * (1 << 20)
    journal = Journal(journald.path)
    with nothing_left_open():
        journal.send(event(KeyName=long))
        assert dict(journald.entry())["KEYISO_KEY_NAME"] == long

    assert journal.lost == 0


def test_a_journal_that_does_not_read_is_not_waited_for(journald: JournalSocket) -> None:
    journal = Journal(journald.path)
    sent = 0
    while not journal.lost:
        journal.send(event())
        sent += 1
        assert sent < 10_000
    journal.send(event())
    assert journal.lost == 2

    journald.entry()
    journal.send(event())
    assert journal.lost == 2


def test_without_a_journal_nothing_is_lost(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none"):
        journal = Journal(path)
        journal.send(event())

        assert journal.lost == 0


def test_a_journal_that_is_down_loses_records_and_gets_the_next(journald: JournalSocket) -> None:
    journal = Journal(journald.path)
    journald.close()
    journal.send(event())
    assert journal.lost == 1

    journald.path.unlink()
    back = JournalSocket(journald.path)
    journal.send(event())
    assert dict(back.entry())["KEYISO_EVENT_ID"] == "3"
    assert journal.lost == 1
    back.close()
