"""What a container's secret opens, and that nothing else does."""

import msgspec
import pytest

from keyiso import limits
from keyiso.crypto.bound_seal import BoundSeal
from keyiso.crypto.container_secret import (
    container_secret,
    new_container_secret,
    unwrapped_secret,
)
from keyiso.crypto.pin_cost import PinCost
from keyiso.crypto.pin_history import new_history, open_history, seal_history
from keyiso.status import Status
from tests.conformance.statuses import fails
from tests.unit.samples import pkcs8, rsa_key
from tests.unit.test_crypto_pin import CHEAP, pin

CONTAINER, KEY_ID, GESTURE = b"c" * 16, b"k" * 16, b"g" * 32
SECRET = new_container_secret(CONTAINER)
OTHERS = (new_container_secret(CONTAINER), container_secret(b"d" * 16, SECRET.secret))


def test_a_key_that_was_wrapped_comes_back() -> None:
    for key in (pkcs8(), pkcs8(rsa_key()), bytes(limits.PASSPORT_KEY_BYTES)):
        wrapped = SECRET.wrap_key(KEY_ID, key)

        assert wrapped[0] == 1
        assert key not in wrapped
        assert len(wrapped) <= limits.PRIVATE_KEY_BYTES
        assert SECRET.unwrap_key(KEY_ID, wrapped) == key


def test_a_key_opens_for_no_other_container_and_no_other_id() -> None:
    wrapped = SECRET.wrap_key(KEY_ID, pkcs8())
    for secret in OTHERS:
        with fails(Status.NTE_BAD_DATA):
            secret.unwrap_key(KEY_ID, wrapped)
    with fails(Status.NTE_BAD_DATA) as caught:
        SECRET.unwrap_key(b"K" * 16, wrapped)
    assert "belongs to something else" in caught.value.cause
    with fails(Status.NTE_BAD_DATA):  # the id in the header is not merely compared
        SECRET.unwrap_key(b"K" * 16, wrapped[:17] + b"K" * 16 + wrapped[33:])


@pytest.mark.parametrize("at", range(0, 90, 7))
def test_a_changed_byte_is_noticed(at: int) -> None:
    wrapped = bytearray(SECRET.wrap_key(KEY_ID, pkcs8()))
    wrapped[at] ^= 1
    with fails(Status.NTE_BAD_VER if at == 0 else Status.NTE_BAD_DATA):
        SECRET.unwrap_key(KEY_ID, bytes(wrapped))


@pytest.mark.parametrize("length", [0, 1, 33, 60])
def test_what_is_cut_short_is_damaged(length: int) -> None:
    with fails(Status.NTE_BAD_DATA):
        SECRET.unwrap_key(KEY_ID, SECRET.wrap_key(KEY_ID, pkcs8())[:length])


def test_what_is_too_long_is_refused_by_its_length() -> None:
    with fails(Status.KEYISO_E_LIMIT):
        SECRET.wrap_key(KEY_ID, bytes(limits.PASSPORT_KEY_BYTES + 1))
    with fails(Status.NTE_BAD_DATA) as caught:
        SECRET.unwrap_key(KEY_ID, b"\1" + bytes(limits.PRIVATE_KEY_BYTES + 1))
    assert "length" in caught.value.cause
    with fails(Status.NTE_INVALID_PARAMETER):
        SECRET.wrap_key(b"short", pkcs8())


def test_what_is_sealed_for_one_purpose_opens_for_no_other() -> None:
    one, other = BoundSeal("one", 9, ""), BoundSeal("other", 9, "")
    sealed = one.seal(GESTURE, CONTAINER, b"plain")

    assert one.open(GESTURE, CONTAINER, sealed) == b"plain"
    with fails(Status.NTE_BAD_DATA):
        other.open(GESTURE, CONTAINER, sealed)


def test_a_gesture_gives_the_secret_and_another_one_does_not() -> None:
    wrapped = SECRET.wrapped(GESTURE)

    assert SECRET.secret not in wrapped
    assert unwrapped_secret(CONTAINER, GESTURE, wrapped) == SECRET
    with fails(Status.NTE_BAD_DATA):
        unwrapped_secret(CONTAINER, b"h" * 32, wrapped)
    with fails(Status.NTE_BAD_DATA):
        unwrapped_secret(b"d" * 16, GESTURE, wrapped)
    with fails(Status.NTE_BAD_DATA):
        container_secret(CONTAINER, bytes(31))


def test_the_secret_is_not_shown() -> None:
    assert repr(SECRET.secret)[2:-1] not in repr(SECRET)


def test_a_pin_of_the_history_is_refused_until_it_is_old_enough() -> None:
    history = new_history(CHEAP)
    for text in ("482915", "573926", "684037"):
        history = history.with_pin(pin(text), 3)
    for text in ("482915", "573926", "684037"):
        with fails(Status.NTE_VALIDATION_FAILED) as caught:
            history.with_pin(pin(text), 3)
        assert text not in str(caught.value)
    history = history.with_pin(pin("795148"), 3)

    assert history.with_pin(pin("482915"), 3).pins[1:] == history.pins[:2]
    assert history.with_pin(pin("684037"), 0).pins == ()


def test_a_history_is_sealed_for_its_container() -> None:
    history = new_history(CHEAP).with_pin(pin("482915"), 5)
    sealed = seal_history(SECRET, history)

    assert open_history(SECRET, sealed) == history
    assert history.pins[0] not in sealed
    assert history.salt not in sealed
    for secret in OTHERS:
        with fails(Status.NTE_BAD_DATA):
            open_history(secret, sealed)


def test_the_longest_history_can_be_stored() -> None:
    pins = tuple(bytes([number]) * 32 for number in range(limits.PIN_HISTORY))
    history = msgspec.structs.replace(new_history(PinCost(64, 256, 1)), pins=pins)

    assert open_history(SECRET, seal_history(SECRET, history)) == history


@pytest.mark.parametrize("changes", [{"salt": b"s"}, {"pins": (b"p",)}], ids=str)
def test_what_is_no_history_is_refused(changes: dict[str, object]) -> None:
    history = msgspec.structs.replace(new_history(CHEAP), **changes)
    with fails(Status.NTE_BAD_DATA):
        open_history(SECRET, seal_history(SECRET, history))
