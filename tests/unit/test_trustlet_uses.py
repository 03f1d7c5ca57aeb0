"""A worker counts what is done with its keys, in bounded memory, and tells it once."""

from collections.abc import Callable

import msgspec
import pytest

from keyiso import limits
from keyiso.server.promise import run_coroutine
from keyiso.trustlet.uses import ChannelUser, UseCounts
from keyiso.wire.channel import Sign
from keyiso.wire.link import FailedUse, KeyUse, Uses
from tests.unit.samples import header

ALICE = ChannelUser(b"c" * 16, 1000, 4711, "nginx", b"k" * 16)
KEY = header()


class Counting:
    """Counts as a worker does, and knows how often the clock was set."""

    def __init__(self) -> None:
        self.begun = 0
        self.counts = UseCounts(self._begin)

    def _begin(self) -> None:
        self.begun += 1

    def use(self, key_id: bytes = KEY.key_id) -> None:
        try:
            self.counts.made[key_id, Sign] += 1
        except KeyError:
            self.counts.begin((key_id, Sign))

    def fail(self, status: int = 5, user: ChannelUser = ALICE, trace: str = "00-trace") -> None:
        self.use()
        self.counts.fail(user, KEY, Sign, status, trace)

    def asked(self) -> list[Uses]:
        """Has somebody wait, and gives what he got so far."""
        got: list[Uses] = []

        async def ask() -> None:
            await self.counts.due()
            got.append(self.counts.take())

        run_coroutine(ask(), _result)
        return got


def _result(outcome: Callable[[], None]) -> None:
    outcome()


@pytest.fixture
def counting() -> Counting:
    return Counting()


def test_uses_are_counted_by_key_and_operation(counting: Counting) -> None:
    for _ in range(3):
        counting.use()
    counting.use(b"o" * 16)

    assert counting.counts.take() == Uses(
        (KeyUse(KEY.key_id, "Sign", 3), KeyUse(b"o" * 16, "Sign", 1)), (), 0
    )


def test_equal_failures_are_one_with_their_number(counting: Counting) -> None:
    counting.fail(5, trace="00-first")
    counting.fail(5, trace="00-last")
    counting.fail(6)
    counting.fail(5, ChannelUser(b"d" * 16, 1001, 4712, "other", b"k" * 16))
    uses = counting.counts.take()

    assert uses.made == (KeyUse(KEY.key_id, "Sign", 4),)
    assert [(one.uid, one.status, one.count, one.trace) for one in uses.failed] == [
        (1000, 5, 2, "00-last"),
        (1000, 6, 1, "00-trace"),
        (1001, 5, 1, "00-trace"),
    ]
    assert uses.failed[0] == FailedUse(
        uid=1000,
        pid=4711,
        process="nginx",
        provider=KEY.provider,
        scope="user",
        name=KEY.name,
        key_id=KEY.key_id,
        algorithm="ECDSA_P256",
        function="Sign",
        status=5,
        count=2,
        trace="00-last",
    )


def test_nothing_is_told_twice(counting: Counting) -> None:
    counting.fail()
    counting.counts.take()

    assert counting.counts.take() == Uses((), (), 0)
    assert (counting.counts.total, counting.counts.failures) == (1, 1)


def test_the_clock_is_set_when_there_is_something_to_tell(counting: Counting) -> None:
    assert counting.begun == 0
    counting.use()
    counting.use()
    counting.use(b"o" * 16)
    assert counting.begun == 1
    counting.counts.take()
    counting.use()
    assert counting.begun == 2


def test_who_waits_is_told_when_it_is_time(counting: Counting) -> None:
    got = counting.asked()
    counting.use()
    assert got == []
    counting.counts.tell()
    assert len(got) == 1

    counting.counts.tell()  # the clock of nothing new
    assert len(got) == 1


def test_who_comes_late_is_told_at_once(counting: Counting) -> None:
    counting.use()
    counting.counts.tell()
    counting.use()

    (uses,) = counting.asked()
    assert uses.made[0].count == 2


def test_of_two_who_wait_one_gets_the_batch(counting: Counting) -> None:
    first, second = counting.asked(), counting.asked()
    counting.use()
    counting.counts.tell()
    counting.use()
    counting.counts.tell()

    assert [len(first), len(second)] == [1, 1]
    assert [got[0].made[0].count for got in (first, second)] == [1, 1]


def test_when_there_is_no_room_for_failures_they_are_told_at_once(counting: Counting) -> None:
    got = counting.asked()
    for status in range(limits.FAILED_USES_PER_BATCH):
        assert got == []
        counting.fail(status)
    (uses,) = got

    assert len(uses.failed) == limits.FAILED_USES_PER_BATCH
    assert {one.count for one in uses.failed} == {1}
    assert uses.lost == 0


def test_when_there_is_no_room_for_keys_they_are_told_at_once(counting: Counting) -> None:
    got = counting.asked()
    for number in range(limits.USES_PER_BATCH):
        assert got == []
        counting.use(number.to_bytes(16, "big"))
    (uses,) = got

    assert len(uses.made) == limits.USES_PER_BATCH
    assert uses.lost == 0


def test_what_nobody_takes_is_bounded_and_counted(counting: Counting) -> None:
    for status in range(limits.FAILED_USES_PER_BATCH + 7):
        counting.fail(status)
    for number in range(limits.USES_PER_BATCH + 4):
        counting.use(number.to_bytes(16, "big"))
    total = limits.FAILED_USES_PER_BATCH + 7 + limits.USES_PER_BATCH + 4
    assert counting.counts.total == total
    uses = counting.counts.take()

    assert len(uses.failed) == limits.FAILED_USES_PER_BATCH
    assert len(uses.made) == limits.USES_PER_BATCH
    assert uses.lost == counting.counts.lost == 7 + 5
    assert counting.counts.failures == limits.FAILED_USES_PER_BATCH + 7
    assert counting.counts.total == total
    counting.use()
    assert counting.counts.take().lost == 0


def test_a_failure_whose_use_was_told_before_is_told_too(counting: Counting) -> None:
    """The batch may become full, and go, between the beginning of a use and its end."""
    counting.use()
    counting.counts.take()
    begun = counting.begun
    counting.counts.fail(ALICE, KEY, Sign, 5, "")
    assert counting.begun == begun + 1
    got = counting.asked()
    counting.counts.tell()

    assert [one.count for one in got[0].failed] == [1]


def test_the_largest_batch_fits_into_a_frame(counting: Counting) -> None:
    user = ChannelUser(b"c" * 16, 2**32, 2**32, "\u20ac" * limits.HOP_TEXT_BYTES, b"k" * 16)
    key = header(name=b"n" * 2 * limits.NAME_UNITS, provider="\u20ac" * limits.PROVIDER_NAME_UNITS)
    for number in range(limits.USES_PER_BATCH):
        counting.use(number.to_bytes(16, "big"))
    for status in range(limits.FAILED_USES_PER_BATCH):
        counting.counts.fail(user, key, Sign, 2**32 + status, "0" * limits.TRACEPARENT_BYTES)

    assert len(msgspec.msgpack.encode(counting.counts.take())) < limits.CONTROL_FRAME_BYTES
