"""A worker signs many hashes in one call, within the time of a turn and the room of a frame."""

from pathlib import Path
from typing import Any

import pytest

from keyiso import limits
from keyiso.crypto.public_keys import load_public_key
from keyiso.crypto.signatures import NO_PADDING, verify_digest
from keyiso.status import Status
from keyiso.wire.channel import BATCH_FEATURE, Signatures, SignBatch
from keyiso.wire.link import TakeUses, Uses
from keyiso.wire.messages import Failure, Welcome
from tests.unit.playing import Script, Until, play
from tests.unit.test_trustlet_worker import World, made

MOST = limits.DIGESTS_PER_BATCH


@pytest.fixture
def world(tmp_path: Path) -> Any:
    found = World(str(tmp_path / "link"))
    yield found
    found.close()


def digests(count: int) -> tuple[bytes, ...]:
    return tuple(bytes([number]) * 32 for number in range(count))


def signed(world: World, asked: tuple[bytes, ...]) -> Any:
    """What the worker answers to one batch, in a run of its own."""

    def script() -> Script:
        yield from world.channel(world.link())
        world.client.ask(SignBatch(world.slot, asked, NO_PADDING))
        yield from world.client.answer()

    play(world.loop, script())
    return world.client.answers[-1]


def check(world: World, asked: tuple[bytes, ...], values: tuple[bytes, ...]) -> None:
    """Each is a signature of the hash in its place."""
    public = load_public_key(world.public_key)
    for digest, value in zip(asked, values, strict=False):
        verify_digest(public, digest, value, NO_PADDING)


@pytest.mark.parametrize("count", [1, 2, MOST])
def test_a_batch_is_signed_in_its_order(world: World, count: int) -> None:
    answer = signed(world, digests(count))

    assert isinstance(answer, Signatures)
    assert len(answer.values) == count
    check(world, digests(count), answer.values)


def test_the_welcome_says_that_batches_are_signed(world: World) -> None:
    signed(world, digests(1))

    (welcome,) = [one for one in world.client.answers if isinstance(one, Welcome)]
    assert BATCH_FEATURE in welcome.features


@pytest.mark.parametrize("count", [0, MOST + 1, 10 * MOST])
def test_a_batch_of_another_size_is_refused(world: World, count: int) -> None:
    answer = signed(world, (b"d" * 32,) * count)

    assert isinstance(answer, Failure)
    assert answer.status == Status.NTE_INVALID_PARAMETER
    assert "DIGESTS_PER_BATCH" in answer.cause


def test_a_hash_that_cannot_be_signed_fails_its_batch(world: World) -> None:
    answer = signed(world, (b"d" * 32, b"", b"d" * 32))

    assert isinstance(answer, Failure)
    assert answer.status == Status.NTE_INVALID_PARAMETER


def test_a_batch_ends_with_the_time_of_a_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three signatures that take 0.45 of a turn each: the third one ends it."""
    engine = world._worker._engine
    sign = engine.sign

    def slowly(*arguments: Any) -> bytes:
        world.clock.advance(0.45 * limits.TURN_SECONDS)
        return sign(*arguments)

    monkeypatch.setattr(engine, "sign", slowly)
    answer = signed(world, digests(MOST))

    assert len(answer.values) == 3
    check(world, digests(3), answer.values)


def test_one_signature_is_made_however_long_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = world._worker._engine
    sign = engine.sign

    def very_slowly(*arguments: Any) -> bytes:
        world.clock.advance(10 * limits.TURN_SECONDS)
        return sign(*arguments)

    monkeypatch.setattr(engine, "sign", very_slowly)

    assert len(signed(world, digests(2)).values) == 1


def test_a_batch_ends_where_the_next_signature_would_not_fit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 3 * 64 + 63)

    assert len(signed(world, digests(MOST)).values) == 3


def test_every_signature_of_a_batch_is_counted(world: World) -> None:
    def script() -> Script:
        link = world.link()
        yield from world.channel(link)
        link.ask(TakeUses())
        world.client.ask(SignBatch(world.slot, digests(5), NO_PADDING))
        yield from world.client.answer()
        world.client.ask(SignBatch(world.slot, (b"",), NO_PADDING))
        yield from world.client.answer()
        yield from world.sign()
        before = link.heard()
        world.clock.advance(limits.USES_SECONDS)
        yield from Until(lambda: link.heard() > before)
        uses = link.answers[-1]
        assert isinstance(uses, Uses)
        assert {function for function, _ in made(uses)} == {"Sign"}
        assert sum(count for _, count in made(uses)) == 5 + 1 + 1
        assert [(failed.function, failed.count) for failed in uses.failed] == [("Sign", 1)]

    play(world.loop, script())
