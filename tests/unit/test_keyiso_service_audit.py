"""What the KeyIso service logs of requests, also of those that make no sense."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from keyiso.errors import Hop, ncrypt_error
from keyiso.events.channels import Channels
from keyiso.events.journal import Journal
from keyiso.events.log import EventLog
from keyiso.events.writer import EventWriter
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.client import Client
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.wire.messages import Call
from keyiso.wire.operations import DeleteKey, KeyTerms, OpenKey
from tests.unit.fake_clock import FakeClock
from tests.unit.samples import header

CLIENT = Client(Peer(4711, 1000, 100, frozenset({100})), "nginx", b"g" * 32)
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


def delete_call(name: bytes = NAME, provider: str = "provider") -> Call[DeleteKey]:
    return Call(1, DeleteKey(b"o" * 16, provider, "machine", name, b"k" * 16), "00-trace")


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
