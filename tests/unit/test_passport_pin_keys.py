"""A PIN from the prompt to the trustlet: for one key, once, and for one purpose."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.crypto import pin_seal
from keyiso.crypto.hpke import SUITE
from keyiso.crypto.pin_seal import SEALED_BYTES, PinTerms, open_pin, seal_pin
from keyiso.status import Status
from keyiso.trustlet.passport.pin_keys import PinKeys
from tests.conformance.statuses import fails
from tests.unit.fake_clock import FakeClock
from tests.unit.test_crypto_pin import pin

TERMS = PinTerms(1000, b"c" * 16, "verify", b"a" * 16)
OTHERS = [
    msgspec.structs.replace(TERMS, **change)
    for change in (
        {"owner": 1001},
        {"container_id": b"d" * 16},
        {"purpose": "change"},
        {"attempt_id": b"b" * 16},
    )
]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def keys(clock: FakeClock) -> PinKeys:
    return PinKeys(clock)


@pytest.mark.parametrize("text", ["4829", "482915", "x" * 127])
def test_a_pin_arrives_and_every_sealed_pin_has_one_length(keys: PinKeys, text: str) -> None:
    public = keys.make(TERMS)
    secret = pin(text)
    sealed = seal_pin(secret, public, TERMS)

    assert len(sealed) == SEALED_BYTES
    assert text.encode() not in sealed
    with keys.open(public, sealed, TERMS) as arrived:
        assert arrived.characters == secret.characters == text.encode()


def test_a_sealed_pin_that_is_sent_again_is_refused(keys: PinKeys) -> None:
    public = keys.make(TERMS)
    sealed = seal_pin(pin("482915"), public, TERMS)
    keys.open(public, sealed, TERMS)
    keys.make(TERMS)
    with fails(Status.KEYISO_E_STALE):
        keys.open(public, sealed, TERMS)


def test_a_sealed_pin_opens_in_no_other_process(keys: PinKeys, clock: FakeClock) -> None:
    public = keys.make(TERMS)
    sealed = seal_pin(pin("482915"), public, TERMS)
    with fails(Status.KEYISO_E_STALE):
        PinKeys(clock).open(public, sealed, TERMS)


@pytest.mark.parametrize("terms", OTHERS, ids=str)
def test_a_sealed_pin_is_for_its_user_container_purpose_and_attempt(
    keys: PinKeys, terms: PinTerms
) -> None:
    public = keys.make(TERMS)
    sealed = seal_pin(pin("482915"), public, TERMS)
    with fails(Status.NTE_BAD_DATA):
        keys.open(public, sealed, terms)
    with fails(Status.KEYISO_E_STALE):  # whoever tries that has used the key up
        keys.open(public, sealed, TERMS)


@pytest.mark.parametrize("terms", OTHERS, ids=str)
def test_the_terms_are_in_the_seal_itself(terms: PinTerms) -> None:
    key = X25519PrivateKey.generate()
    sealed = seal_pin(pin("482915"), key.public_key().public_bytes_raw(), TERMS)

    assert open_pin(sealed, key, TERMS).characters == b"482915"
    with fails(Status.NTE_BAD_DATA):
        open_pin(sealed, key, terms)


def test_a_key_waits_for_so_long(keys: PinKeys, clock: FakeClock) -> None:
    public = keys.make(TERMS)
    sealed = seal_pin(pin("482915"), public, TERMS)
    clock.advance(limits.PIN_KEY_SECONDS)
    with fails(Status.KEYISO_E_STALE):
        keys.open(public, sealed, TERMS)
    assert len(keys) == 0


def test_a_user_who_asks_for_many_keys_loses_his_oldest(keys: PinKeys) -> None:
    neighbour = keys.make(OTHERS[0])
    mine = [keys.make(TERMS) for _ in range(limits.PIN_KEYS_PER_USER + 1)]

    assert len(keys) == limits.PIN_KEYS_PER_USER + 1
    with fails(Status.KEYISO_E_STALE):
        keys.open(mine[0], b"", TERMS)
    keys.open(neighbour, seal_pin(pin("482915"), neighbour, OTHERS[0]), OTHERS[0])


def test_too_many_keys_are_refused_by_the_limits_name(keys: PinKeys) -> None:
    for uid in range(limits.PIN_KEYS):
        keys.make(msgspec.structs.replace(TERMS, owner=uid))
    with fails(Status.KEYISO_E_LIMIT) as caught:
        keys.make(msgspec.structs.replace(TERMS, owner=limits.PIN_KEYS))
    assert "PIN_KEYS" in caught.value.cause


@pytest.mark.parametrize(
    ("padded", "status"),
    [
        (bytes([6]) + b"482915" + b"\0" * 120 + b"!", Status.NTE_BAD_DATA),
        (bytes([128]) + b"4" * 127, Status.NTE_BAD_DATA),
        (bytes([6]) + b"48291 " + bytes(121), Status.NTE_INVALID_PARAMETER),
        (bytes(128), Status.NTE_INVALID_PARAMETER),
        (bytes([4]) + b"4829", Status.NTE_BAD_DATA),
    ],
)
def test_what_somebody_sealed_that_is_no_pin_is_refused(padded: bytes, status: Status) -> None:
    key = X25519PrivateKey.generate()
    sealed = b"\1" + SUITE.encrypt(padded, key.public_key(), pin_seal._info(TERMS))
    with fails(status):
        open_pin(sealed, key, TERMS)


def test_another_version_is_told(keys: PinKeys) -> None:
    public = keys.make(TERMS)
    with fails(Status.NTE_BAD_VER):
        keys.open(public, b"\2" + bytes(SEALED_BYTES - 1), TERMS)


def test_what_is_no_key_is_refused() -> None:
    for wrong in (b"", bytes(31), bytes(32)):
        with fails(Status.NTE_BAD_DATA):
            seal_pin(pin("482915"), wrong, TERMS)
