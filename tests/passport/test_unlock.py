"""A PIN that is set with an answer of the reset key, with real services that are killed."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import (
    create_passport_key,
    enrol_pin,
    get_container,
    reset_pin,
    sign_with_pin,
    try_pin,
)
from keyiso.client.passport_reset import request_reset, set_reset_key, unlock_pin
from keyiso.client.reference import KeyReference
from keyiso.crypto.container_copy import answer_reset, decode_reset
from keyiso.crypto.recovery import recovery_fingerprint
from keyiso.crypto.signatures import NO_PADDING
from keyiso.status import Status
from keyiso.wire.link import Generate, RenewLease
from keyiso.wire.passport import RequestReset, SetResetKey, UnlockPin
from tests.conformance.statuses import fails
from tests.event_log import event_instance
from tests.instance import RunningInstance
from tests.passport.conftest import NEW, RIGHT, WRONG, pin
from tests.passport.killer import kills
from tests.passport.link import GENERATOR, Prompt, at_the_worker, status_in
from tests.unit.test_trustlet_engine import GRANT, terms

RESET_KEY = X25519PrivateKey.generate()
PUBLIC = RESET_KEY.public_key().public_bytes_raw()


def signs(binding: Binding, text: str, key: KeyReference) -> bool:
    return bool(sign_with_pin(binding, pin(text), key, b"d" * 32, NO_PADDING))


@pytest.fixture
def key(binding: Binding) -> KeyReference:
    """Of a container that has a reset key."""
    set_reset_key(binding, pin(RIGHT), PUBLIC)
    return create_passport_key(binding, pin(RIGHT), "of a day")


def test_an_answer_is_good_after_all_services_restarted(
    instance: RunningInstance, binding: Binding, key: KeyReference
) -> None:
    for _ in range(5):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(binding, pin(WRONG))
    asked = request_reset(binding)
    instance.kill("keyiso", GENERATOR)
    state = unlock_pin(binding, pin(NEW), answer_reset(asked, RESET_KEY))

    assert state.attempts_left == 5
    assert decode_reset(asked).owner == os.geteuid()
    assert signs(binding, NEW, key)


def test_only_the_newest_answer_is_good_and_once(binding: Binding, key: KeyReference) -> None:
    old, newest = (answer_reset(request_reset(binding), RESET_KEY) for _ in range(2))
    with fails(Status.NTE_BAD_DATA):
        unlock_pin(binding, pin(NEW), old)
    assert signs(binding, RIGHT, key)
    unlock_pin(binding, pin(NEW), newest)
    for answer in (old, newest):
        with fails(Status.NTE_BAD_DATA):
            unlock_pin(binding, pin(WRONG), answer)
    assert signs(binding, NEW, key)


def test_tickets_end_and_a_pin_for_something_else_sets_no_reset_key(
    instance: RunningInstance,
) -> None:
    with at_the_worker(instance.instance) as client:
        prompt, attempt_id = Prompt(client, 1000), os.urandom(16)
        client.call(RenewLease())
        prompt.enrol()
        sealed = prompt.sealed(RIGHT, "verify", attempt_id)
        refused = client.call(SetResetKey(1000, attempt_id, sealed, PUBLIC))
        assert status_in(refused) == Status.NTE_BAD_DATA
        sealed = prompt.sealed(RIGHT, "reset-key", attempt_id)
        state = client.call(SetResetKey(1000, attempt_id, sealed, PUBLIC))
        assert state.reset_key == recovery_fingerprint(PUBLIC)
        ticket = prompt.attempt(RIGHT, use="create").ticket
        asked = client.call(RequestReset(1000)).request
        sealed = prompt.sealed(NEW, "new", attempt_id)
        answer = answer_reset(asked, RESET_KEY)
        assert client.call(UnlockPin(1000, attempt_id, sealed, answer)).attempts_left == 5
        made = client.call(Generate(terms(owner=1000), GRANT, ticket))
    assert status_in(made) == Status.KEYISO_E_STALE


# --- kills ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["passport", "passport-container", "keyiso", GENERATOR])
def test_an_unlock_is_made_and_keys_are_kept_wherever_a_service_is_killed(
    instance: RunningInstance, binding: Binding, key: KeyReference, victim: str
) -> None:
    old, new = RIGHT, NEW
    for killed, _ in kills(instance, binding, victim):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(binding, pin(WRONG))
        answer = answer_reset(request_reset(binding), RESET_KEY)
        assert unlock_pin(killed, pin(new), answer).attempts_left == 5
        with fails(Status.NTE_BAD_DATA):
            unlock_pin(binding, pin(WRONG), answer)
        assert signs(binding, new, key)
        old, new = new, old


@pytest.mark.parametrize("victim", ["passport", "passport-container", "keyiso", GENERATOR])
def test_a_reset_key_is_set_and_asked_wherever_a_service_is_killed(
    instance: RunningInstance, binding: Binding, key: KeyReference, victim: str
) -> None:
    for killed, _ in kills(instance, binding, victim):
        set_reset_key(killed, pin(RIGHT), PUBLIC)
        asked = request_reset(killed)
        assert get_container(binding).attempts_left == 5
    unlock_pin(binding, pin(NEW), answer_reset(asked, RESET_KEY))
    assert signs(binding, NEW, key)


def test_who_did_what_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with event_instance(tmp_path / "home") as instance:
        monkeypatch.setenv("KEYISO_HOME", str(tmp_path / "home"))
        binding = bind_process(os.environ, service="passport")
        enrol_pin(binding, pin(RIGHT))
        set_reset_key(binding, pin(RIGHT), PUBLIC)
        with fails(Status.NTE_BAD_DATA):
            unlock_pin(binding, pin(NEW), b"")
        unlock_pin(binding, pin(NEW), answer_reset(request_reset(binding), RESET_KEY))
        reset_pin(binding, pin(RIGHT))
        set_reset_key(binding, pin(RIGHT), b"")
        instance.event(event_id=1006, reset_key="")
        lines = [line for line in instance.events() if line["event_id"] > 1000]

    told = [(line["event_id"], line.get("keys"), line.get("reset_key")) for line in lines]
    assert told == [
        (1001, None, None),
        (1006, None, recovery_fingerprint(PUBLIC).hex()),
        (1003, "kept", None),
        (1003, "lost", None),
        (1006, None, ""),
    ]
    assert {line["data"]["UserId"] for line in lines} == {str(os.geteuid())}
