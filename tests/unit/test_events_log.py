"""The event log: whole lines, bounded files, and never an error for who is logged."""

import json
import os
import stat
from collections import deque
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.errors import Hop
from keyiso.events import log as log_module
from keyiso.events.log import FILE_BYTES, OLD_FILES, EventLog
from keyiso.events.records import (
    CHANNEL_SWITCHED,
    EVENT_TYPES,
    KEY_WRITTEN,
    OPEN_KEY_FAILED,
    Event,
    EventType,
)

FIELDS: dict[str, str | int] = {
    "ProviderName": "Microsoft Software Key Storage Provider",
    "KeyName": "web",
    "Status": 0x80090016,
    "ProcessName": "nginx",
}


def event(number: int = 0, **changes: str | int) -> Event:
    return Event(OPEN_KEY_FAILED, 1_700_000_000.25 + number, FIELDS | changes, 1000)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def files(log: EventLog) -> list[Path]:
    """From the oldest file to the one that is written."""
    old = [log.path.with_name(f"events.jsonl.{number}") for number in range(OLD_FILES, 0, -1)]
    return [path for path in (*old, log.path) if path.exists()]


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "state" / "events")


@pytest.fixture
def small_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    """A log whose files are closed at one kilobyte."""
    monkeypatch.setattr(log_module, "FILE_BYTES", 1000)
    return EventLog(tmp_path)


def test_an_event_is_one_line_of_json(log: EventLog) -> None:
    log.write(event())

    assert log.path.read_bytes().count(b"\n") == 1
    assert lines(log.path) == [
        {
            "time": "2023-11-14T22:13:20.250+00:00",
            "provider": "Microsoft-Windows-Crypto-NCrypt",
            "event_id": 3,
            "channel": "Operational",
            "level": "error",
            "task": 3,
            "keywords": 1,
            "message": "opening a key failed",
            "uid": 1000,
            "data": FIELDS,
        }
    ]


def test_trace_and_chain_are_there_when_they_are_known(log: EventLog) -> None:
    chain = (Hop("application", 1, "x"), Hop("keyiso", 2, "y"))
    log.write(Event(OPEN_KEY_FAILED, 0.0, FIELDS, 0, "00-trace-01", chain))
    (line,) = lines(log.path)

    assert (line["trace"], line["chain"]) == ("00-trace-01", ["application[1] x", "keyiso[2] y"])


def test_no_value_can_forge_a_line(log: EventLog) -> None:
    name = 'x\n{"event_id": 21}\r\u2028\u0085\x00\ud800"'
    log.write(event(KeyName=name))
    (line,) = lines(log.path)

    assert log.path.read_bytes().isascii()
    assert line["data"] == FIELDS | {"KeyName": name}


def test_events_are_appended_also_after_a_restart(log: EventLog) -> None:
    log.write(event(1))
    EventLog(log.path.parent).write(event(2))

    assert len(lines(log.path)) == 2


def test_the_log_is_for_its_user_alone(log: EventLog) -> None:
    before = os.umask(0)
    try:
        log.write(event())
    finally:
        os.umask(before)

    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


def test_files_are_closed_at_their_size_and_the_oldest_goes(small_log: EventLog) -> None:
    written: deque[str] = deque()
    for number in range(200):
        small_log.write(event(number, KeyName=f"key {number}"))
        written.append(f"key {number}")
    kept = [line["data"]["KeyName"] for path in files(small_log) for line in lines(path)]  # type: ignore[index]

    assert len(files(small_log)) == 1 + OLD_FILES
    assert len(os.listdir(small_log.path.parent)) == 1 + OLD_FILES
    assert kept == list(written)[-len(kept) :]
    assert all(1000 <= path.stat().st_size < 1500 for path in files(small_log)[:-1])


def test_a_file_below_its_size_is_not_closed(small_log: EventLog) -> None:
    while not small_log.path.exists() or small_log.path.stat().st_size < 1000:
        small_log.write(event())
    assert len(files(small_log)) == 1
    small_log.write(event())

    assert len(files(small_log)) == 2
    assert len(lines(small_log.path)) == 1


def test_the_log_stays_under_twenty_mebibytes() -> None:
    assert FILE_BYTES * (1 + OLD_FILES) <= 20 * 1024 * 1024


def test_a_gap_in_the_old_files_is_no_trouble(small_log: EventLog) -> None:
    for number in range(60):
        small_log.write(event(number))
    files(small_log)[1].unlink()
    for number in range(60):
        small_log.write(event(number))

    assert small_log.lost == 0
    assert len(files(small_log)) == 1 + OLD_FILES


def test_what_cannot_be_written_is_counted_and_hurts_nobody(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log.write(event(1))
        log.write(event(2))
    log.write(event(3))

    assert log.lost == 2
    assert len(lines(log.path)) == 1


def test_a_directory_that_went_away_is_counted(log: EventLog) -> None:
    log.path.parent.rmdir()
    log.write(event())

    assert log.lost == 1


def test_the_next_record_says_how_many_are_missing(log: EventLog) -> None:
    with_disk = log.path.parent.with_name("elsewhere")
    log.path.parent.rename(with_disk)
    written = [log.write(event(1)), log.write(event(2))]
    with_disk.rename(log.path.parent)
    written += [log.write(event(3)), log.write(event(4))]

    assert written == [False, False, True, True]
    assert [line.get("missing") for line in lines(log.path)] == [2, None]


def test_a_full_disk_loses_events_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    log = EventLog(tmp_path)

    assert not log.write(event())
    assert log.lost == 1


def test_a_directory_that_cannot_be_made_loses_events_and_raises_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = EventLog(tmp_path / "file" / "events")

    assert not log.write(event())
    assert log.lost == 1


def test_a_log_that_cannot_be_rotated_does_not_grow(small_log: EventLog) -> None:
    while not small_log.path.exists() or small_log.path.stat().st_size < 1000:
        small_log.write(event())
    small_log.path.with_name("events.jsonl.3").touch()
    small_log.path.with_name("events.jsonl.4").mkdir()
    size = small_log.path.stat().st_size

    assert not small_log.write(event())
    assert small_log.lost == 1
    assert small_log.path.stat().st_size == size


def test_the_longest_record_fits_into_a_line(log: EventLog) -> None:
    """Every text as long as it can be, of characters that take most bytes."""
    wide = "\U0001f511"
    hop = Hop(wide * limits.HOP_TEXT_BYTES, 2**64, wide * limits.HOP_TEXT_BYTES)
    chain = (hop,) * (limits.HOPS + 1)
    names = ("ProviderName", "KeyName", "ProcessName")
    values: dict[str, str | int] = {
        field: wide * limits.NAME_UNITS if field in names else "0" * 40
        for field in KEY_WRITTEN.fields
    }
    trace = wide * limits.TRACEPARENT_BYTES

    assert log.write(Event(KEY_WRITTEN, 1.5, values, 2**32, trace, chain, 2**32))


def test_a_record_that_is_too_long_all_the_same_is_lost(log: EventLog) -> None:
    assert not log.write(event(KeyName="k" * limits.EVENT_LINE_BYTES))
    assert log.write(event())
    assert log.lost == 1
    assert len(lines(log.path)) == 1


def test_a_switch_is_on_the_disk_before_it_is_made(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    log.write(event())
    assert synced == []

    values: dict[str, str | int] = dict.fromkeys(CHANNEL_SWITCHED.fields, "")
    assert log.write(Event(CHANNEL_SWITCHED, 1.5, values, 0))
    assert len(synced) == 1


def test_what_keyiso_adds_stands_beside_the_fields(log: EventLog) -> None:
    log.write(Event(OPEN_KEY_FAILED, 1.5, FIELDS, 1000, pid=4711, more={"count": 3}))
    (line,) = lines(log.path)

    assert (line["uid"], line["pid"], line["count"]) == (1000, 4711, 3)
    assert line["data"] == FIELDS


def test_a_line_that_was_cut_does_not_spoil_the_next(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write(2) may take a part: that of a disk that is just getting full."""
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:40]))
        log.write(event(1))
    log.write(event(2))
    whole = [line for line in log.path.read_bytes().splitlines() if line.endswith(b"}")]

    assert log.lost == 1
    assert json.loads(whole[-1])["data"] == FIELDS


@pytest.mark.parametrize("kind", EVENT_TYPES.values(), ids=lambda kind: str(kind.event_id))
def test_an_event_has_the_fields_of_the_manifest_in_their_order(kind: EventType) -> None:
    values: dict[str, str | int] = dict.fromkeys(kind.fields, "")
    Event(kind, 0.0, values, 0)

    for wrong in (
        {**values, "More": 1},
        dict(list(values.items())[1:]),
        *([dict(reversed(values.items()))] if len(values) > 1 else []),
    ):
        with pytest.raises(ValueError, match=f"event {kind.event_id}"):
            Event(kind, 0.0, wrong, 0)
