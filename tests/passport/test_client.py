"""Passport as a program uses it, with real services that are killed under it."""

import os
import random
import threading
import time
from typing import Any

import msgspec
import pytest

from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import (
    change_pin,
    create_passport_key,
    enrol_pin,
    find_passport_key,
    get_container,
    reset_pin,
    sign_with_pin,
    try_pin,
)
from keyiso.client.reference import KeyReference
from keyiso.client.request import Request
from keyiso.crypto.public_keys import load_public_key
from keyiso.crypto.signatures import NO_PADDING, verify_digest
from keyiso.errors import NCryptError
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER, MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.status import Status, status_name
from keyiso.wire.control import (
    CreateKey,
    DeleteKey,
    GetProperty,
    GetServiceStatus,
    ImportKey,
    SetAccess,
    SetProperty,
)
from keyiso.wire.key_terms import KeyTerms
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.passport.conftest import NEW, RIGHT, WRONG, pin
from tests.passport.killer import kills
from tests.passport.link import GENERATOR
from tests.waiting import wait_until

DIGEST = b"d" * 32


def left(binding: Binding) -> int:
    return get_container(binding).attempts_left


def check(key: KeyReference, signature: bytes) -> None:
    verify_digest(load_public_key(key.header.public_key), DIGEST, signature, NO_PADDING)


def loaded_keys(keyiso: Binding) -> int:
    return sum(one.loaded_keys for one in keyiso.control(GetServiceStatus()).workers)


def test_a_life_of_a_container(instance: RunningInstance) -> None:
    binding = bind_process(os.environ, service="passport")
    with fails(Status.NTE_NOT_FOUND):
        get_container(binding)
    with fails(Status.NTE_NOT_FOUND):
        try_pin(binding, pin(RIGHT))
    state = enrol_pin(binding, pin(RIGHT))

    assert (state.protector, state.attempts_left) == ("software", 5)
    with fails(Status.NTE_EXISTS):
        enrol_pin(binding, pin(NEW))
    with fails(Status.NTE_INCORRECT_PASSWORD):
        try_pin(binding, pin(WRONG))
    assert left(binding) == 4
    with fails(Status.NTE_VALIDATION_FAILED):
        change_pin(binding, pin(RIGHT), pin("111111"))
    assert left(binding) == 4
    change_pin(binding, pin(RIGHT), pin(NEW))
    try_pin(binding, pin(NEW))
    reset_pin(binding, pin(RIGHT))
    try_pin(binding, pin(RIGHT))


def test_a_key_signs_for_the_right_pin_and_for_no_other(binding: Binding) -> None:
    made = create_passport_key(binding, pin(RIGHT), "logon")
    found = find_passport_key(binding, "logon")

    assert found.names_the_same_key(made.header)
    check(made, sign_with_pin(binding, pin(RIGHT), found, DIGEST, NO_PADDING))
    with fails(Status.NTE_INCORRECT_PASSWORD):
        sign_with_pin(binding, pin(WRONG), found, DIGEST, NO_PADDING)
    with fails(Status.NTE_INCORRECT_PASSWORD):
        create_passport_key(binding, pin(WRONG), "another")
    with fails(Status.NTE_EXISTS):
        create_passport_key(binding, pin(RIGHT), "logon")
    change_pin(binding, pin(RIGHT), pin(NEW))
    check(made, sign_with_pin(binding, pin(NEW), found, DIGEST, NO_PADDING))


def test_a_key_that_is_open_for_one_signature_is_not_left_open(
    binding: Binding, keyiso: Binding
) -> None:
    """No worker keeps it when the signature is there."""
    made = create_passport_key(binding, pin(RIGHT), "logon")
    sign_with_pin(binding, pin(RIGHT), made, DIGEST, NO_PADDING)

    wait_until(lambda: loaded_keys(keyiso) == 0, "the end of the channel")
    assert made.location is not None
    with fails(Status.NTE_UI_REQUIRED):
        keyiso.open(made.location)


def test_who_keeps_an_attempts_id_is_charged_once_over_many_calls(binding: Binding) -> None:
    key = create_passport_key(binding, pin(RIGHT), "logon")
    attempt_id = os.urandom(16)
    for _ in range(2):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(binding, pin(WRONG), attempt_id=attempt_id)
        with fails(Status.NTE_INCORRECT_PASSWORD):
            change_pin(binding, pin(WRONG), pin(NEW), attempt_id=attempt_id)
        with fails(Status.NTE_INCORRECT_PASSWORD):
            sign_with_pin(binding, pin(WRONG), key, DIGEST, NO_PADDING, attempt_id=attempt_id)
        with fails(Status.NTE_INCORRECT_PASSWORD):
            create_passport_key(binding, pin(WRONG), "other", attempt_id=attempt_id)

    assert left(binding) == 4


def test_a_reset_loses_the_keys_and_a_replaced_key_is_noticed(binding: Binding) -> None:
    made = create_passport_key(binding, pin(RIGHT), "logon")
    reset_pin(binding, pin(NEW))
    with fails(Status.NTE_BAD_DATA):
        sign_with_pin(binding, pin(NEW), made, DIGEST, NO_PADDING)
    again = create_passport_key(binding, pin(NEW), "logon", overwrite=True)

    with fails(Status.NTE_BAD_KEYSET):
        sign_with_pin(binding, pin(NEW), made, DIGEST, NO_PADDING)
    assert sign_with_pin(binding, pin(NEW), again, DIGEST, NO_PADDING)


def test_a_locked_container_answers_right_and_wrong_alike(binding: Binding) -> None:
    for _ in range(5):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(binding, pin(WRONG))
    for text in (RIGHT, WRONG):
        with fails(Status.NTE_AUTHENTICATION_IGNORED):
            try_pin(binding, pin(text))
    state = get_container(binding)

    assert state.attempts_left == 0
    assert 0 < state.locked_seconds <= 60


def test_who_has_no_pin_deletes_a_key_and_changes_what_belongs_to_it(binding: Binding) -> None:
    made = create_passport_key(binding, pin(RIGHT), "logon")
    at = made.location
    assert at is not None
    key = at.provider, at.scope, at.name, made.header.key_id
    name = "friendly".encode("utf-16-le")
    binding.control(SetProperty(binding.operation_id(), *key, name, b"value"))
    binding.control(SetAccess(binding.operation_id(), *key, made.header.access))

    assert binding.control(GetProperty(*key, name)).value == b"value"
    assert sign_with_pin(binding, pin(RIGHT), made, DIGEST, NO_PADDING)
    binding.control(DeleteKey(binding.operation_id(), *key))
    with fails(Status.NTE_BAD_KEYSET):
        find_passport_key(binding, "logon")
    with fails(Status.NTE_BAD_KEYSET):
        sign_with_pin(binding, pin(RIGHT), made, DIGEST, NO_PADDING)


TERMS = KeyTerms(
    *(b"", MS_NGC_KEY_STORAGE_PROVIDER, "user", 0, "a".encode("utf-16-le"), "persisted"),
    *("ECDSA_P256", 256, 2, 0, False),
)


@pytest.mark.parametrize(
    ("status", "ticket", "changes"),
    [
        (Status.NTE_UI_REQUIRED, b"", {}),
        (Status.NTE_INVALID_PARAMETER, b"t" * 16, {"provider": MS_KEY_STORAGE_PROVIDER}),
        (Status.NTE_NOT_SUPPORTED, b"t" * 16, {"scope": "machine"}),
        (Status.NTE_NOT_SUPPORTED, b"t" * 16, {"lifetime": "ephemeral", "name": b""}),
        (Status.NTE_NOT_SUPPORTED, b"t" * 16, {"level": "vbs"}),
    ],
    ids=["no ticket", "another provider", "machine", "ephemeral", "vbs"],
)
def test_what_is_made_in_a_container_is_a_users_stored_key(
    keyiso: Binding, status: Status, ticket: bytes, changes: dict[str, Any]
) -> None:
    own = {"operation_id": keyiso.operation_id(), "owner": keyiso.uid()}
    with fails(status):
        keyiso.control(CreateKey(msgspec.structs.replace(TERMS, **own, **changes), (), ticket))


def test_nothing_is_imported_into_a_container(keyiso: Binding) -> None:
    own = {"operation_id": keyiso.operation_id(), "owner": keyiso.uid()}
    terms = msgspec.structs.replace(TERMS, **own, algorithm="", bits=0)
    with fails(Status.NTE_NOT_SUPPORTED):
        keyiso.control(ImportKey(terms, b"i" * 16, b"sealed"))


def test_an_older_keyiso_service_is_not_asked(binding: Binding) -> None:
    class ToAnOlderOne(Request):
        def offers(self, feature: str) -> bool:
            return False

    older = Binding(binding._settings, ToAnOlderOne)
    for work in (try_pin, enrol_pin, reset_pin):
        with fails(Status.NTE_NOT_SUPPORTED):
            work(older, pin(RIGHT))
    with fails(Status.NTE_NOT_SUPPORTED):
        find_passport_key(older, "logon")


# --- kills ---------------------------------------------------------------------------------------


@pytest.fixture(params=["passport", "passport-container", "keyiso", GENERATOR])
def victim(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_wrong_pin_is_counted_once_wherever_a_service_is_killed(
    instance: RunningInstance, binding: Binding, victim: str
) -> None:
    for killed, _ in kills(instance, binding, victim):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(killed, pin(WRONG))
        assert left(binding) == 4
        try_pin(binding, pin(RIGHT))
        assert left(binding) == 5


def test_a_signature_comes_wherever_a_service_is_killed(
    instance: RunningInstance, binding: Binding, victim: str
) -> None:
    key = create_passport_key(binding, pin(RIGHT), "logon")
    for killed, _ in kills(instance, binding, victim):
        check(key, sign_with_pin(killed, pin(RIGHT), key, DIGEST, NO_PADDING))
        assert left(binding) == 5


def test_a_key_is_made_once_wherever_a_service_is_killed(
    instance: RunningInstance, binding: Binding, victim: str
) -> None:
    for number, (killed, _) in enumerate(kills(instance, binding, victim)):
        key = create_passport_key(killed, pin(RIGHT), f"key {number}")
        assert find_passport_key(binding, f"key {number}").names_the_same_key(key.header)
    assert sign_with_pin(binding, pin(RIGHT), key, DIGEST, NO_PADDING)


def test_a_change_is_made_wherever_a_service_is_killed(
    instance: RunningInstance, binding: Binding, victim: str
) -> None:
    key = create_passport_key(binding, pin(RIGHT), "logon")
    old, new = RIGHT, NEW
    for killed, _ in kills(instance, binding, victim):
        change_pin(killed, pin(old), pin(new))
        old, new = new, old
        assert left(binding) == 5
    assert sign_with_pin(binding, pin(old), key, DIGEST, NO_PADDING)


def test_an_enrolment_is_made_once_wherever_a_service_is_killed(
    instance: RunningInstance, victim: str
) -> None:
    """A new container each time: the files of the one before are moved away."""
    binding = bind_process(os.environ, service="passport")
    containers = instance.instance.containers
    for number, (killed, _) in enumerate(kills(instance, binding, victim)):
        if containers.exists():
            containers.rename(containers.with_name(f"containers {number}"))
        enrol_pin(killed, pin(RIGHT))
        try_pin(binding, pin(RIGHT))


def test_attempts_at_once_are_counted_exactly(instance: RunningInstance, binding: Binding) -> None:
    """Also when services are killed under all of them."""
    seed = time.time_ns()
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(5):
        answers: list[str] = []

        def attempt(answers: list[str] = answers) -> None:
            with pytest.raises(NCryptError) as caught:
                try_pin(binding, pin(WRONG))
            answers.append(status_name(caught.value.status))

        threads = [threading.Thread(target=attempt) for _ in range(rng.randint(2, 4))]
        for thread in threads:
            thread.start()
        for victim in rng.sample(["keyiso", GENERATOR], k=rng.randint(0, 2)):
            instance.kill(victim)
        for thread in threads:
            thread.join()

        assert answers == ["NTE_INCORRECT_PASSWORD"] * len(threads)
        assert left(binding) == 5 - len(threads)
        try_pin(binding, pin(RIGHT))
        assert left(binding) == 5
