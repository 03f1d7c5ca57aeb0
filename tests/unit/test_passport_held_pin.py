"""The PIN that a handle holds: for one use."""

import pytest

from keyiso.errors import ncrypt_error
from keyiso.providers.passport_pin import HeldPin
from keyiso.status import Status
from tests.conformance.statuses import fails
from tests.passport.conftest import NEW, RIGHT, pin

ATTEMPT_ID = b"i" * 16


def fail(status: Status) -> None:
    raise ncrypt_error(status, "for this test")


@pytest.mark.parametrize(
    ("status", "stays"),
    [
        (Status.NTE_INCORRECT_PASSWORD, False),
        (Status.NTE_PASSWORD_CHANGE_REQUIRED, False),
        (Status.NTE_AUTHENTICATION_IGNORED, True),
        (Status.KEYISO_E_SERVICE_UNAVAILABLE, True),
    ],
)
def test_a_pin_stays_with_its_attempt_unless_it_was_judged(status: Status, stays: bool) -> None:
    place, held = HeldPin(), pin(RIGHT)
    place.hold(held, ATTEMPT_ID)
    with fails(status), place.use() as attempt:
        assert attempt == (held, ATTEMPT_ID)
        fail(status)

    assert bool(held.characters) == stays
    with place.use() as attempt:
        assert (attempt is not None) == stays
    assert not held.characters


def test_another_pin_wipes_the_one_before() -> None:
    place, first, second = HeldPin(), pin(RIGHT), pin(NEW)
    place.hold(first, ATTEMPT_ID)
    place.hold(second, ATTEMPT_ID)

    assert not first.characters
    assert second.characters == NEW.encode()
    place.wipe()
    assert not second.characters


def test_a_place_without_a_pin_gives_none() -> None:
    with HeldPin().use() as attempt:
        assert attempt is None
