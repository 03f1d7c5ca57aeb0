"""Which channels are on: at once, for good, and never in doubt."""

import os
import stat
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.events.channels import DEFAULT_LEVELS, OFF, Channels
from keyiso.events.records import (
    CHANNEL_SWITCHED,
    EVENT_TYPES,
    KEY_WRITE_SUCCEEDED,
    KEY_WRITTEN,
    OPEN_KEY_FAILED,
    Channel,
    EventType,
    Level,
)

OPERATIONAL, KEY_MANAGEMENT = Channel.OPERATIONAL, Channel.KEY_MANAGEMENT

VBS = (13, 14, 15, 20, 25, 26)
"""Those about isolation."""

KEYS = (21, 22, 1001, 1002, 1003, 1006)
"""Those of the KeyMgmt channel, two about keys and three about Passport containers."""


def channels(directory: Path) -> Channels:
    return Channels(directory, pytest.fail)


def wanted(found: Channels) -> set[int]:
    return {kind.event_id for kind in EVENT_TYPES.values() if found.want(kind)}


def test_by_default_everything_is_on_but_what_is_verbose(tmp_path: Path) -> None:
    assert wanted(channels(tmp_path)) == {1, 2, 3, 4, 10, 12, *VBS, *KEYS, 1000, 1004, 1005}


@pytest.mark.parametrize(
    ("channel", "level", "ids"),
    [
        (OPERATIONAL, OFF, {*KEYS, 1000}),
        (OPERATIONAL, Level.ERROR, {1, 2, 3, 4, 10, 12, 13, 14, 20, *KEYS, 1000, 1004, 1005}),
        (OPERATIONAL, Level.VERBOSE, {1, 2, 3, 4, 9, 10, 11, 12, *VBS, *KEYS, 1000, 1004, 1005}),
        (KEY_MANAGEMENT, OFF, {1, 2, 3, 4, 10, 12, *VBS, 1000, 1004, 1005}),
        (KEY_MANAGEMENT, Level.ERROR, {1, 2, 3, 4, 10, 12, *VBS, 1000, 1004, 1005}),
    ],
)
def test_a_switch_takes_effect_at_once_and_outlives_a_restart(
    tmp_path: Path, channel: Channel, level: int, ids: set[int]
) -> None:
    found = channels(tmp_path)
    found.switch(channel, level)

    assert wanted(found) == ids
    assert wanted(channels(tmp_path)) == ids


def test_one_channel_is_switched_and_the_others_stay(tmp_path: Path) -> None:
    found = channels(tmp_path)
    found.switch(KEY_MANAGEMENT, OFF)
    found.switch(OPERATIONAL, Level.VERBOSE)

    assert dict(channels(tmp_path).levels) == {OPERATIONAL: 5, KEY_MANAGEMENT: 0}


@pytest.mark.parametrize("kind", [CHANNEL_SWITCHED], ids=["1000"])
def test_a_switch_is_recorded_whatever_is_off(tmp_path: Path, kind: EventType) -> None:
    found = channels(tmp_path)
    for channel in Channel:
        found.switch(channel, OFF)

    assert wanted(found) == {kind.event_id}
    assert not any(map(found.want, (OPEN_KEY_FAILED, KEY_WRITTEN, KEY_WRITE_SUCCEEDED)))


DAMAGED = [
    b"",
    b"1",
    b"2\nOperational off\n",
    b"\x01\nOperational off\n",
    b"1\nOperational off",
    b"1\nOperational\n",
    b"1\nOperational quiet\n",
    b"1\nOperational off extra\n",
    b"1\nSecurity off\n",
    b"1\n\n",
    b"1\r\nOperational off\r\n",
    b"1\nOperational off\n\xff\n",
    b"1\n" + b"Operational off\n" * limits.EVENT_CHANNELS_BYTES,
]


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:30]))
def test_a_damaged_file_means_the_defaults_and_a_word(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "channels").write_bytes(data)
    told: list[str] = []

    assert dict(Channels(tmp_path, told.append).levels) == dict(DEFAULT_LEVELS)
    (words,) = told
    assert words.startswith(f"{tmp_path / 'channels'}: ")


def test_a_damaged_file_is_replaced_by_the_next_switch(tmp_path: Path) -> None:
    (tmp_path / "channels").write_bytes(b"nonsense")
    told: list[str] = []
    Channels(tmp_path, told.append).switch(KEY_MANAGEMENT, OFF)

    assert told
    assert channels(tmp_path).levels[KEY_MANAGEMENT] == OFF


def test_a_channel_that_the_file_does_not_have_is_as_by_default(tmp_path: Path) -> None:
    """A later version may have more channels."""
    (tmp_path / "channels").write_text("1\nKeyMgmt off\n")

    assert dict(channels(tmp_path).levels) == {**DEFAULT_LEVELS, KEY_MANAGEMENT: OFF}


def test_a_switch_that_cannot_be_kept_is_none(tmp_path: Path) -> None:
    found = channels(tmp_path)
    (tmp_path / "channels.new").mkdir()

    with pytest.raises(OSError, match="directory"):
        found.switch(KEY_MANAGEMENT, OFF)
    assert dict(found.levels) == dict(DEFAULT_LEVELS)
    assert not (tmp_path / "channels").exists()


def test_the_file_is_whole_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = channels(tmp_path)
    found.switch(KEY_MANAGEMENT, OFF)

    def power_fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", power_fails)
    with pytest.raises(OSError, match="Input"):
        found.switch(KEY_MANAGEMENT, Level.VERBOSE)
    monkeypatch.undo()

    assert found.levels[KEY_MANAGEMENT] == channels(tmp_path).levels[KEY_MANAGEMENT] == OFF


def test_the_file_is_for_its_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        channels(tmp_path).switch(OPERATIONAL, OFF)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "channels").stat().st_mode) == 0o600
