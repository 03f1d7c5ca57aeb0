"""What workers tell becomes sums and records: equal failures are one record in a while."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyiso import limits
from keyiso.keyiso_service.audit import Audit
from keyiso.keyiso_service.key_uses import KeyUses
from keyiso.server.loop import Loop
from keyiso.wire.link import FailedUse, KeyUse, Uses
from tests.unit.fake_clock import FakeClock
from tests.unit.playing import Script, play, rounds
from tests.unit.test_keyiso_service_audit import writer_at

FAILED = FailedUse(
    uid=1000,
    pid=4711,
    process="nginx",
    provider="Microsoft Software Key Storage Provider",
    scope="user",
    name="we\x1bb".encode("utf-16-le"),
    key_id=b"k" * 16,
    algorithm="RSA",
    function="Sign",
    status=0x80090010,
    count=1,
    trace="00-trace",
)


def failed(count: int = 1, **changes: Any) -> Uses:
    """A batch with so many uses, all of which failed."""
    one = msgspec.structs.replace(FAILED, count=count, **changes)
    return Uses((KeyUse(one.key_id, one.function, count),), (one,), 0)


class Service:
    """The part of a KeyIso service that counts uses."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock(time=1.5)
        self.loop = Loop(self.clock)
        self.uses = KeyUses(self.loop, Audit(writer_at(directory), self.clock))
        self._path = directory / "events.jsonl"

    def log(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def counts(self) -> list[int]:
        return [line["count"] for line in self.log()]

    def wait(self, seconds: float) -> None:
        """Let time pass, and the timers be called."""

        def script() -> Script:
            self.clock.advance(seconds)
            yield from rounds(2)

        play(self.loop, script())
        self.loop._stopped = False


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    found = Service(tmp_path)
    yield found
    found.loop.close()


def test_a_failure_is_recorded_when_it_is_told(service: Service) -> None:
    service.uses.take(Uses((KeyUse(b"k" * 16, "Sign", 10),), (FAILED,), 0))
    (line,) = service.log()

    assert line["data"] == {
        "OperationType": 0x10,
        "ProviderName": "Microsoft Software Key Storage Provider",
        "KeyName": r"we\x1bb",
        "KeyType": "user",
        "AlgorithmName": "RSA",
        "Status": 0x80090010,
        "ProcessName": "nginx",
    }
    del line["data"]
    assert line == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "provider": "Microsoft-Windows-Crypto-NCrypt",
        "event_id": 1,
        "channel": "Operational",
        "level": "error",
        "task": 1,
        "keywords": 1,
        "message": "an operation with a key failed",
        "uid": 1000,
        "pid": 4711,
        "trace": "00-trace",
        "function": "Sign",
        "key_id": (b"k" * 16).hex(),
        "count": 1,
        "failures": 1,
        "successes": 9,
    }


@pytest.mark.parametrize(
    ("function", "bits"),
    [
        ("Sign", 0x10),
        ("Decrypt", 4),
        ("Derive", 8),
        ("Encipher", 1),
        ("Decipher", 1),
        ("ExportPrivate", 0),
    ],
)
def test_the_type_of_an_operation_is_cngs_bit(service: Service, function: str, bits: int) -> None:
    service.uses.take(failed(function=function))

    assert service.log()[0]["data"]["OperationType"] == bits


def test_equal_failures_are_one_record_in_a_while(service: Service) -> None:
    service.uses.take(failed())
    for _ in range(5):
        service.uses.take(failed(100))
        service.wait(1)
    assert service.counts() == [1]
    service.wait(limits.FAILURE_SECONDS)
    assert service.counts() == [1, 500]
    assert service.log()[1]["failures"] == 501


def test_who_goes_on_failing_is_counted_further(service: Service) -> None:
    for count in (1, 2, 3, 4):
        service.uses.take(failed(count))
        if count > 1:
            service.wait(limits.FAILURE_SECONDS)

    assert service.counts() == [1, 2, 3, 4]
    service.uses.take(failed(5))
    assert service.counts() == [1, 2, 3, 4]


def test_a_flood_is_one_record_after_the_other(service: Service) -> None:
    for _ in range(10):
        service.uses.take(failed())
        service.wait(limits.FAILURE_SECONDS)

    assert service.counts() == [1] * 10


def test_who_stops_failing_is_recorded_at_once_when_it_begins_again(service: Service) -> None:
    service.uses.take(failed())
    service.wait(limits.FAILURE_SECONDS)
    service.wait(limits.FAILURE_SECONDS)
    service.uses.take(failed(3))

    assert service.counts() == [1, 3]


@pytest.mark.parametrize(
    "other",
    [
        {"uid": 1001},
        {"pid": 4712},
        {"process": "apache"},
        {"key_id": b"l" * 16},
        {"function": "Decrypt"},
        {"status": 0x80090005},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_failures_are_records_of_their_own(service: Service, other: dict[str, Any]) -> None:
    service.uses.take(failed(2))
    service.uses.take(failed(3, **other))

    assert service.counts() == [2, 3]


def test_equal_failures_of_several_workers_are_equal(service: Service) -> None:
    service.uses.take(failed(2, trace="00-one"))
    service.uses.take(failed(3, trace="00-another"))
    service.uses.take(failed(4, trace="00-a third"))
    service.wait(limits.FAILURE_SECONDS)

    assert service.counts() == [2, 7]
    assert service.log()[1]["trace"] == "00-a third"


def test_what_is_held_back_is_recorded_at_the_end(service: Service) -> None:
    service.uses.take(failed())
    service.uses.take(failed(41))
    service.uses.tell_all()

    assert service.counts() == [1, 41]


def test_successes_are_summed_up_over_batches(service: Service) -> None:
    for _ in range(3):
        service.uses.take(Uses((KeyUse(b"k" * 16, "Sign", 1000),), (), 0))
    service.uses.take(Uses((KeyUse(b"k" * 16, "Decrypt", 7),), (), 0))
    assert service.log() == []
    service.uses.take(failed(2))

    assert service.log()[0]["successes"] == 3000


def test_no_user_fills_the_log_with_different_failures(service: Service) -> None:
    for number in range(10_000):
        service.uses.take(failed(2, key_id=number.to_bytes(16, "big")))

    assert len(service.log()) == limits.EVENTS_AT_ONCE_PER_USER
    service.wait(60)
    service.uses.take(failed(2))
    assert service.log()[-1]["suppressed"] == 2 * (10_000 - limits.EVENTS_AT_ONCE_PER_USER)
    service.uses.take(failed(uid=1001))
    assert service.log()[-1]["uid"] == 1001


def test_memory_for_failures_and_sums_is_bounded(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "USE_TOTALS", 10)
    monkeypatch.setattr(limits, "HELD_FAILURES", 5)
    for number in range(50):
        service.uses.take(failed(key_id=number.to_bytes(16, "big")))

    assert len(service.uses._totals) == 10
    assert len(service.uses._held) == 5
    assert len(service.log()) == 50


def test_what_workers_had_no_room_for_is_counted(service: Service) -> None:
    service.uses.take(Uses((), (), 3))
    service.uses.take(Uses((), (), 4))

    assert service.uses.lost == 7


ODD: list[Callable[[], Uses]] = [
    lambda: failed(name=b"odd"),
    lambda: failed(count=-5),
    lambda: failed(status=2**63, uid=-1, pid=2**63),
    lambda: failed(function="Fly" * 1000, process="p" * 100_000, algorithm="a" * 100_000),
    lambda: Uses((), (FAILED,), 0),
]


@pytest.mark.parametrize("uses", ODD)
def test_no_word_of_a_worker_ends_the_service(service: Service, uses: Callable[[], Uses]) -> None:
    service.uses.take(uses())
    service.wait(limits.FAILURE_SECONDS)

    (line,) = service.log()
    assert len(json.dumps(line)) < 10_000
    assert line["successes"] >= 0
