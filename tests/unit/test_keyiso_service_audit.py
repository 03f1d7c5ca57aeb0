"""What the KeyIso service logs of requests, also of those that make no sense."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keyiso import limits
from keyiso.errors import Hop, NCryptError, ncrypt_error
from keyiso.events.channels import Channels
from keyiso.events.journal import Journal
from keyiso.events.log import EventLog
from keyiso.events.writer import EventWriter
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.client import Client
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.wire.control import (
    DeleteKey,
    OpenEphemeral,
    OpenKey,
    ReportProviderFailure,
    SetEventChannel,
)
from keyiso.wire.key_terms import KeyTerms
from keyiso.wire.messages import Call
from tests.unit.fake_clock import FakeClock
from tests.unit.samples import header

CLIENT = Client(
    Peer(4711, 1000, 100, frozenset({100})), "nginx", b"g" * 32, b"c" * 16, lambda: True
)
ERROR = ncrypt_error(Status.NTE_BAD_KEYSET, "cause", "action", (Hop("keyiso", 2, "OpenKey"),))
NAME = "we\nb".encode("utf-16-le")

Log = Callable[[], list[dict[str, object]]]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return lambda: [
        json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()
    ]


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(writer_at(tmp_path), FakeClock(time=1.5))


def writer_at(directory: Path) -> EventWriter:
    return EventWriter(EventLog(directory), Journal(None), Channels(directory, pytest.fail))


def terms(name: bytes = NAME, provider: str = "provider") -> KeyTerms:
    return KeyTerms(
        b"o" * 16, provider, "machine", 1000, name, "persisted", "RSA", 2048, 2, 0, True
    )


def open_call(name: bytes = NAME, provider: str = "provider") -> Call[OpenKey]:
    return Call(1, OpenKey(provider, "user", name, b"c" * 16, b"i" * 16), "00-trace")


def delete_call(
    name: bytes = NAME, provider: str = "provider", key_id: bytes = b"k" * 16
) -> Call[DeleteKey]:
    return Call(1, DeleteKey(b"o" * 16, provider, "machine", name, key_id), "00-trace")


def test_every_change_and_every_failure_is_an_event(audit: Audit, log: Log) -> None:
    audit.open_failed(CLIENT, open_call(), ERROR)
    audit.create_failed(CLIENT, terms(), "00-trace", ERROR)
    audit.write_failed(CLIENT, terms(), "00-trace", ERROR, replaced=False)
    audit.written(CLIENT, terms(), "00-trace", header(), replaced=False)
    audit.delete_failed(CLIENT, delete_call(), ERROR)
    audit.deleted(CLIENT, delete_call())

    assert [line["event_id"] for line in log()] == [3, 4, 10, 21, 12, 22]
    assert {line["uid"] for line in log()} == {1000}
    assert {line["trace"] for line in log()} == {"00-trace"}
    assert {line["time"] for line in log()} == {"1970-01-01T00:00:01.500+00:00"}
    assert ["chain" in line for line in log()] == [True, True, True, False, True, False]


def test_what_succeeded_is_recorded_where_somebody_wants_it(
    tmp_path: Path, audit: Audit, log: Log
) -> None:
    """The verbose twins of 21 and 22."""
    audit.switch_channel(CLIENT, switch("Operational", 5))
    audit.written(CLIENT, terms(), "00-trace", header(), replaced=True)
    audit.deleted(CLIENT, delete_call())
    _, *lines = log()

    assert [line["event_id"] for line in lines] == [9, 21, 11, 22]
    assert [line["level"] for line in lines] == ["verbose", "information"] * 2
    assert lines[0]["data"] == lines[1]["data"]
    assert lines[2]["data"] == lines[3]["data"]


def test_a_repeated_request_is_recorded_as_such(audit: Audit, log: Log) -> None:
    audit.written(CLIENT, terms(), "", header(), replaced=False, repeated=True)
    audit.deleted(CLIENT, delete_call(), repeated=True)
    audit.deleted(CLIENT, delete_call())

    assert [line.get("repeated") for line in log()] == [1, 1, None]


def test_a_failed_write_says_what_it_would_have_been(audit: Audit, log: Log) -> None:
    audit.write_failed(CLIENT, terms(), "", ERROR, replaced=False)
    audit.write_failed(CLIENT, terms(), "", ERROR, replaced=True)

    assert [line["data"]["KeyModificationType"] for line in log()] == [1, 2]  # type: ignore[index]


def test_an_ephemeral_key_that_does_not_open_has_no_name(audit: Audit, log: Log) -> None:
    audit.open_failed(
        CLIENT, Call(1, OpenEphemeral(b"blob", b"c" * 16, b"i" * 16), "00-trace"), ERROR
    )
    (line,) = log()

    assert line["event_id"] == 3
    assert line["data"] == {
        "ProviderName": "",
        "KeyName": "",
        "Status": Status.NTE_BAD_KEYSET,
        "ProcessName": "nginx",
    }


def test_a_providers_failure_is_the_clients_own_word(audit: Audit, log: Log) -> None:
    audit.provider_failed(CLIENT, report("No\x1b[31mne\n", 0x80090011))
    audit.provider_failed(CLIENT, report("p" * 100_000, -(2**63)))
    audit.open_failed(CLIENT, open_call(), ERROR)
    first, second, opened = log()

    assert (first["event_id"], first["reported_by"]) == (2, "client")
    assert first["data"] == {
        "ProviderName": r"No\x1b[31mne\n",
        "Status": 0x80090011,
        "ProcessName": "nginx",
    }
    assert (first["uid"], first["pid"]) == (1000, 4711)
    assert len(json.dumps(second)) < 1000
    assert "reported_by" not in opened


# --- channels ----------------------------------------------------------------------------------


def test_a_channel_is_switched_at_once(audit: Audit, log: Log) -> None:
    audit.switch_channel(CLIENT, switch("KeyMgmt", 0))
    audit.deleted(CLIENT, delete_call())
    audit.switch_channel(CLIENT, switch("KeyMgmt", 4))
    audit.deleted(CLIENT, delete_call())

    assert [line["event_id"] for line in log()] == [1000, 1000, 22]
    assert {one.name: one.level for one in audit.channels()} == {"Operational": 4, "KeyMgmt": 4}


def test_a_switch_says_who_switched_what(audit: Audit, log: Log) -> None:
    audit.switch_channel(CLIENT, switch("KeyMgmt", 0))
    (line,) = log()

    assert (line["provider"], line["level"], line["trace"]) == ("keyiso", "information", "00-trace")
    assert line["data"] == {
        "ChannelName": "KeyMgmt",
        "NewLevel": "off",
        "OldLevel": "information",
        "ProcessName": "nginx",
        "ProcessId": 4711,
        "UserId": "1000",
        "Status": 0,
    }


def test_no_switch_is_suppressed(audit: Audit, log: Log) -> None:
    for level in (0, 2, 0, 0):
        for channel in ("Operational", "KeyMgmt"):
            audit.switch_channel(CLIENT, switch(channel, level))

    assert len(log()) == 8


@pytest.mark.parametrize(("channel", "level"), [("Security", 4), ("KeyMgmt", 3), ("", -1)])
def test_a_channel_or_level_that_is_none(
    audit: Audit, tmp_path: Path, channel: str, level: int
) -> None:
    before = audit.channels()
    with pytest.raises(NCryptError) as caught:
        audit.switch_channel(CLIENT, switch(channel, level))

    assert caught.value.status == Status.NTE_INVALID_PARAMETER
    assert audit.channels() == before
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_switched_unseen(audit: Audit, tmp_path: Path) -> None:
    """Who fills the disk first does not switch the log off without a trace."""
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    before = audit.channels()
    with pytest.raises(NCryptError) as caught:
        audit.switch_channel(CLIENT, switch("KeyMgmt", 0))

    assert caught.value.status == Status.KEYISO_E_STORE
    assert audit.channels() == before
    assert not (tmp_path / "channels").exists()


def test_a_switch_that_cannot_be_kept_is_told_and_recorded(
    audit: Audit, log: Log, tmp_path: Path
) -> None:
    (tmp_path / "channels.new").mkdir()
    before = audit.channels()
    with pytest.raises(NCryptError) as caught:
        audit.switch_channel(CLIENT, switch("KeyMgmt", 0))

    assert caught.value.status == Status.KEYISO_E_STORE
    assert audit.channels() == before
    assert [line["data"]["Status"] for line in log()] == [0, Status.KEYISO_E_STORE]  # type: ignore[index]


# --- requests that make no sense ---------------------------------------------------------------


def test_no_user_fills_the_log_with_failures(audit: Audit, log: Log) -> None:
    for _ in range(1000):
        audit.open_failed(CLIENT, open_call(), ERROR)
    audit.deleted(CLIENT, delete_call())

    assert len(log()) == limits.EVENTS_AT_ONCE_PER_USER + 1
    assert audit.suppressed == 1000 - limits.EVENTS_AT_ONCE_PER_USER


def test_an_event_names_caller_key_and_status(audit: Audit, log: Log) -> None:
    audit.written(CLIENT, terms(), "", header(), replaced=True)
    audit.delete_failed(CLIENT, delete_call(), ERROR)
    written, failed = (line["data"] for line in log())

    assert written == {
        "ProviderName": "provider",
        "KeyModificationType": 2,
        "Flags": 0xA0,
        "KeyName": r"we\nb",
        "KeyFileName": header().key_id.hex(),
        "ProcessName": "nginx",
        "ProcessId": 4711,
        "ThreadId": 0,
        "UserId": "1000",
        "ServiceTag": "",
        "Status": 0,
    }
    assert isinstance(failed, dict)
    assert (failed["Status"], failed["Flags"]) == (Status.NTE_BAD_KEYSET, 0x20)


def switch(channel: str, level: int) -> Call[SetEventChannel]:
    return Call(1, SetEventChannel(channel, level), "00-trace")


def report(provider: str, status: int) -> Call[ReportProviderFailure]:
    return Call(1, ReportProviderFailure(provider, status))


ABSURD = [
    pytest.param(
        lambda audit, **bad: audit.open_failed(CLIENT, open_call(**bad), ERROR), id="open"
    ),
    pytest.param(
        lambda audit, **bad: audit.create_failed(CLIENT, terms(**bad), "", ERROR), id="create"
    ),
    pytest.param(
        lambda audit, **bad: audit.delete_failed(CLIENT, delete_call(**bad), ERROR), id="delete"
    ),
]


@pytest.mark.parametrize("failed", ABSURD)
def test_a_name_that_is_none_is_logged_too(
    audit: Audit, log: Log, failed: Callable[..., None]
) -> None:
    failed(audit, name=b"odd")

    assert len(log()) == 1


@pytest.mark.parametrize("failed", ABSURD)
@pytest.mark.parametrize("bad", [{"name": b"\0\1" * 100_000}, {"provider": "p" * 100_000}])
def test_no_request_fills_the_log(
    audit: Audit, log: Log, failed: Callable[..., None], bad: dict[str, object]
) -> None:
    """A few hundred refused requests would push everything else out of it."""
    failed(audit, **bad)

    assert len(json.dumps(log())) < 10_000


def test_no_key_id_fills_the_log(audit: Audit, log: Log) -> None:
    audit.delete_failed(CLIENT, delete_call(key_id=b"k" * 1_000_000), ERROR)

    assert len(json.dumps(log())) < 10_000
