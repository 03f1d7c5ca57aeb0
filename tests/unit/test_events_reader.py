"""Reading the log while it is written and rotated: each line once."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.events import log as log_module
from keyiso.events.log import OLD_FILES, EventLog
from keyiso.events.reader import LogReader
from keyiso.events.records import OPEN_KEY_FAILED, Event
from tests.unit.playing import nothing_left_open

SEED = random.randrange(2**32)


def event(number: int) -> Event:
    values: dict[str, str | int] = {
        "ProviderName": "p",
        "KeyName": str(number),
        "Status": 5,
        "ProcessName": "nginx",
    }
    return Event(OPEN_KEY_FAILED, 1_700_000_000.25, values, 1000, pid=7, more={"count": 3})


def numbers(reader: LogReader) -> list[int]:
    """The events that are there to be read now, by the number in their key's name."""
    return [int(record.data["KeyName"]) for record, _ in reader.read()]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    """A log whose files are closed after about four events."""
    monkeypatch.setattr(log_module, "FILE_BYTES", 1000)
    return EventLog(tmp_path)


@pytest.fixture
def reader(log: EventLog) -> Iterator[LogReader]:
    reading = LogReader(log.path.parent)
    yield reading
    reading.close()


def write(log: EventLog, *events: int) -> list[int]:
    for number in events:
        assert log.write(event(number))
    return list(events)


def test_an_event_is_what_was_written(log: EventLog, reader: LogReader) -> None:
    write(log, 1)
    ((record, line),) = reader.read()

    assert (record.event_id, record.channel, record.level) == (3, "Operational", "error")
    assert (record.uid, record.pid, record.count) == (1000, 7, 3)
    assert record.time.timestamp() == 1_700_000_000.25
    assert line + b"\n" == log.path.read_bytes()


def test_the_log_is_read_from_its_oldest_file(log: EventLog) -> None:
    written = write(log, *range(14))
    with nothing_left_open():
        reader = LogReader(log.path.parent)
        assert log.path.with_name("events.jsonl.3").exists()
        assert numbers(reader) == written
        assert numbers(reader) == []
        reader.close()


def test_only_what_is_new_is_read(log: EventLog, reader: LogReader) -> None:
    write(log, 1, 2)
    assert numbers(reader) == [1, 2]
    assert numbers(reader) == []
    write(log, 3)
    assert numbers(reader) == [3]


def test_what_was_there_can_be_skipped(log: EventLog) -> None:
    write(log, *range(10))
    reader = LogReader(log.path.parent)
    reader.skip()
    assert numbers(reader) == []
    assert numbers(reader) + write(log, 10) == [10]
    assert numbers(reader) == [10]
    reader.close()


def test_a_log_that_does_not_exist_yet(tmp_path: Path) -> None:
    with nothing_left_open():
        reader = LogReader(tmp_path / "later" / "events")
        assert numbers(reader) == []
        log = EventLog(tmp_path / "later" / "events")
        assert numbers(reader) == []
        write(log, 1)
        assert numbers(reader) == [1]
        assert reader.gaps == 0
        reader.close()


@pytest.mark.parametrize("between", range(1, 17))
def test_rotation_loses_and_doubles_nothing(log: EventLog, reader: LogReader, between: int) -> None:
    """So many events between two looks, up to several rotations."""
    written, read = [], []
    for start in range(0, 160, between):
        written += write(log, *range(start, start + between))
        read += numbers(reader)

    assert read == written
    assert (reader.gaps, reader.damaged) == (0, 0)
    assert len(os.listdir(log.path.parent)) == 1 + OLD_FILES


@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")
def test_a_look_at_any_moment_of_a_rotation(
    log: EventLog, reader: LogReader, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The log is looked at between the renamings, and before the new file is there."""
    rng = random.Random(seed)
    written, read = write(log, 0), numbers(reader)
    replace = Path.replace

    def look_and_replace(path: Path, target: Path) -> Path:
        if rng.random() < 0.3:
            read.extend(numbers(reader))
        result = replace(path, target)
        if rng.random() < 0.3:
            read.extend(numbers(reader))
        return result

    monkeypatch.setattr(Path, "replace", look_and_replace)
    for number in range(1, 400):
        written += write(log, number)
        if rng.random() < 0.1:
            read += numbers(reader)
    read += numbers(reader)

    assert read == written
    assert reader.gaps == 0


def test_files_that_are_opened_while_they_are_rotated(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look at a log, with a rotation between any two files that it opens."""
    written = write(log, *range(14))
    open_ = os.open
    rotations = iter([False, True, False])

    def open_and_rotate(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = open_(path, flags, mode)
        if flags & os.O_NONBLOCK and next(rotations, False):
            written.extend(write(log, *range(len(written), len(written) + 4)))
        return descriptor

    monkeypatch.setattr(os, "open", open_and_rotate)
    reader = LogReader(log.path.parent)
    read = numbers(reader) + numbers(reader)
    reader.close()

    assert len(written) == 18
    assert read == written


def test_a_log_that_is_rotated_away_unseen_is_a_gap(log: EventLog, reader: LogReader) -> None:
    write(log, 0)
    assert numbers(reader) == [0]
    written = write(log, *range(1, 60))
    read = numbers(reader)

    assert reader.gaps == 1
    assert read[-1] == written[-1]
    assert len(read) == len(set(read))
    assert read[:3] == [1, 2, 3]  # of the file that was open


def test_a_log_that_somebody_removed_begins_anew(log: EventLog, reader: LogReader) -> None:
    write(log, 1)
    assert numbers(reader) == [1]
    log.path.unlink()
    assert numbers(reader) == []
    write(log, 2)
    assert numbers(reader) == [2]
    assert reader.gaps == 1


def test_a_log_that_somebody_emptied_begins_anew(log: EventLog, reader: LogReader) -> None:
    write(log, 1, 2)
    assert numbers(reader) == [1, 2]
    os.truncate(log.path, 0)
    assert numbers(reader) == []
    write(log, 3)
    assert numbers(reader) == [3]


def test_a_line_is_read_when_it_is_whole(log: EventLog, reader: LogReader) -> None:
    write(log, 1)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:40])
    assert numbers(reader) == []
    log.path.write_bytes(whole)
    assert numbers(reader) == [1]
    assert reader.damaged == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\x00\xff",
        b'{"event_id": 3}',
        b'{"time": "yesterday"}',
        b"[" * 5000,
        b"x" * limits.EVENT_LINE_BYTES,
        b"x" * (3 * limits.EVENT_LINE_BYTES + 5),
    ],
    ids=lambda line: repr(line[:20]) + str(len(line)),
)
def test_a_damaged_line_is_counted_and_skipped(
    log: EventLog, reader: LogReader, line: bytes
) -> None:
    write(log, 1)
    with log.path.open("ab") as file:
        file.write(line + b"\n")
    assert numbers(reader) == [1]
    assert reader.damaged == 1
    log.path.write_bytes(log.path.read_bytes())
    write(log, 2)
    assert numbers(reader) == [2]
    assert reader.damaged == 1


def test_the_end_of_a_long_line_is_no_event(log: EventLog, reader: LogReader) -> None:
    write(log, 1)
    line = log.path.read_bytes()
    log.path.write_bytes(b"x" * limits.EVENT_LINE_BYTES + line + line)

    assert numbers(reader) == [1]
    assert reader.damaged == 1


@pytest.mark.parametrize("edit", [lambda line: line[:-2], lambda line: line.replace(b"3", b'"', 1)])
def test_a_line_that_was_edited_is_damaged(
    log: EventLog, reader: LogReader, edit: Callable[[bytes], bytes]
) -> None:
    write(log, 1, 2)
    first, second, _ = log.path.read_bytes().split(b"\n")
    log.path.write_bytes(edit(first) + b"\n" + second + b"\n")

    assert numbers(reader) == [2]
    assert reader.damaged == 1


def test_fields_of_a_later_version_are_no_damage(log: EventLog, reader: LogReader) -> None:
    write(log, 1)
    line = log.path.read_bytes()
    log.path.write_bytes(line.replace(b"{", b'{"more": {"x": [1]}, ', 1))

    assert numbers(reader) == [1]


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "events.jsonl.1")
    with nothing_left_open():
        reader = LogReader(tmp_path)
        assert numbers(reader) == []
        reader.close()
