"""Passport containers of several users of a system instance: each has one, and root no PIN.

Needs root, which starts the services as different users and clients as others.
"""

import os
import pwd

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.client.binding import bind_process
from keyiso.client.passport import get_container, reset_pin, try_pin
from keyiso.client.passport_reset import request_reset, unlock_pin
from keyiso.crypto.container_copy import answer_reset, decode_reset
from keyiso.crypto.pin import Pin
from keyiso.status import Status
from keyiso.wire.passport import MakePinKey
from tests.conformance.statuses import fails
from tests.conformance.world import (
    ALICE,
    BOB,
    KEYISO,
    MALLORY,
    TRUSTLET,
    SystemInstance,
    World,
    uid_of,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")

PASSPORT = """
from keyiso.client.binding import bind_process
from keyiso.client.passport import (
    create_passport_key, enrol_pin, find_passport_key, get_container, reset_pin, sign_with_pin,
    try_pin,
)
from keyiso.client.passport_reset import request_reset, set_reset_key, unlock_pin
from keyiso.client.retry import RetryPolicy
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_seal import PinTerms, seal_pin
from keyiso.crypto.signatures import NO_PADDING
from keyiso.wire.control import Attach, OpenKey
from keyiso.wire.passport import (
    AttemptPin, ChangePin, EnrolPin, MakePinKey, RequestReset, ResetPin, SealedPin, SetResetKey,
    UnlockPin,
)

RIGHT, WRONG, NEW = "482915", "573926", "684037"
binding = bind_process(os.environ, service="passport")

def pin(text):
    return Pin(bytearray(text, "ascii"))

def left():
    return get_container(binding).attempts_left
"""


@pytest.fixture(scope="module", autouse=True)
def enrolled(world: World) -> None:
    """Both users have a container, with the same PIN."""
    for user in (ALICE, BOB):
        assert world.run(user, PASSPORT + "tell(enrol_pin(binding, pin(RIGHT)).attempts_left)") == 5


@pytest.mark.parametrize("service", ["keyiso", "passport"])
def test_nobody_else_asks_for_a_users_container(world: World, service: str) -> None:
    told = world.run(
        BOB,
        PASSPORT
        + f"""
# What is stale is not asked for again: that would hide, until a deadline, who is not refused.
hasty = RetryPolicy(deadline=0)
keyiso = bind_process(os.environ, policy=hasty)
binding = bind_process(os.environ, policy=hasty, service="{service}")
alice, attempt_id, sealed = {uid_of(ALICE)}, os.urandom(16), SealedPin(b"k" * 32, b"s" * 177)
purposes = "enrol", "verify", "change", "new", "reset-key"
tell([
    outcome(lambda: get_container(binding, alice)),
    outcome(lambda: reset_pin(binding, pin(NEW), alice)),
    outcome(lambda: request_reset(binding, alice)),
    outcome(lambda: unlock_pin(binding, pin(NEW), b"answer", alice)),
    *[
        outcome(lambda: keyiso.control(operation))
        for operation in (
            *[MakePinKey(alice, purpose, attempt_id) for purpose in purposes],
            SetResetKey(alice, attempt_id, sealed, b"k" * 32),
            RequestReset(alice),
        )
    ],
    *[
        outcome(lambda: binding.control(operation))
        for operation in (
            EnrolPin(alice, attempt_id, sealed),
            AttemptPin(alice, attempt_id, sealed, "none"),
            ChangePin(alice, attempt_id, sealed, sealed),
            ResetPin(alice, attempt_id, sealed),
            UnlockPin(alice, attempt_id, sealed, b"answer"),
        )
    ],
])
""",
    )

    assert told == ["NTE_PERM"] * 16


def test_wrong_pins_of_one_user_are_not_counted_for_another(world: World) -> None:
    wrong = PASSPORT + "tell([outcome(lambda: try_pin(binding, pin(WRONG))), left()])"

    assert world.run(BOB, wrong) == ["NTE_INCORRECT_PASSWORD", 4]
    assert world.run(ALICE, PASSPORT + "tell(left())") == 5
    assert world.run(BOB, PASSPORT + "tell([try_pin(binding, pin(RIGHT)), left()])") == [None, 5]


def test_a_ticket_of_another_user_opens_nothing(world: World) -> None:
    """Also when that user gives it away, with the name of her own key."""
    ticket_of_alice = world.run(
        ALICE,
        PASSPORT
        + """
create_passport_key(binding, pin(RIGHT), "logon")
uid, attempt_id = os.getuid(), os.urandom(16)
key = bind_process(os.environ).control(MakePinKey(uid, "verify", attempt_id))
terms = PinTerms(uid, key.container_id, "verify", attempt_id)
sealed = SealedPin(key.public_key, seal_pin(pin(RIGHT), key.public_key, terms))
tell(binding.control(AttemptPin(uid, attempt_id, sealed, "use")).ticket.hex())
""",
    )
    told = world.run(
        BOB,
        PASSPORT
        + f"""
made = create_passport_key(binding, pin(RIGHT), "logon").location
with raw_client.RawClient.bound(control()) as client:
    attached = client.call(Attach(passport=True))
    answers = [
        client.call(OpenKey(
            made.provider, "user", made.name, attached.channel_id, attached.worker_instance, ticket
        )).status
        for ticket in (bytes.fromhex("{ticket_of_alice}"), b"", b"t" * 16)
    ]
tell(answers)
""",
    )

    assert told == [Status.NTE_PERM, Status.NTE_UI_REQUIRED, Status.KEYISO_E_STALE]


def test_root_sees_and_resets_and_has_no_pin(world: World) -> None:
    binding, alice = bind_process(os.environ, service="passport"), uid_of(ALICE)
    key = 'find_passport_key(binding, "of a day")'
    sign = f'outcome(lambda: len(sign_with_pin(binding, pin(NEW), {key}, b"d" * 32, NO_PADDING)))'
    world.run(ALICE, PASSPORT + 'tell(bool(create_passport_key(binding, pin(RIGHT), "of a day")))')

    assert get_container(binding, alice).attempts_left == 5
    see = PASSPORT + f"tell(get_container(binding, {alice}).attempts_left)"
    assert world.run(MALLORY, see, groups=(pwd.getpwnam(KEYISO).pw_gid,)) == 5
    with fails(Status.NTE_PERM):
        bind_process(os.environ).control(MakePinKey(alice, "verify", os.urandom(16)))
    with fails(Status.NTE_NOT_FOUND):
        try_pin(binding, Pin(bytearray(b"482915")))
    reset_pin(binding, Pin(bytearray(b"684037")), alice)
    tried = "[outcome(lambda: try_pin(binding, pin(text))) for text in (RIGHT, NEW)]"
    told = world.run(ALICE, PASSPORT + f"tell([*{tried}, {sign}])")
    assert told == ["NTE_INCORRECT_PASSWORD", None, "NTE_BAD_DATA"]


def test_root_unlocks_with_an_answer_and_sets_no_reset_key(world: World) -> None:
    """The reset key is the user's choice; then root, who has it answered, has keys kept."""
    binding, bob = bind_process(os.environ, service="passport"), uid_of(BOB)
    reset_key = X25519PrivateKey.generate()
    public = reset_key.public_key().public_bytes_raw()
    key = 'find_passport_key(binding, "of a day")'
    sign = f'outcome(lambda: len(sign_with_pin(binding, pin(NEW), {key}, b"d" * 32, NO_PADDING)))'

    with fails(Status.NTE_PERM):
        bind_process(os.environ).control(MakePinKey(bob, "reset-key", os.urandom(16)))
    with fails(Status.NTE_NOT_SUPPORTED):
        request_reset(binding, bob)
    set_key = f'set_reset_key(binding, pin(RIGHT), bytes.fromhex("{public.hex()}"))'
    make = 'create_passport_key(binding, pin(RIGHT), "of a day")'
    asked_by_bob = world.run(
        BOB, PASSPORT + f"{set_key}\n{make}\ntell(request_reset(binding).hex())"
    )
    asked = request_reset(binding, bob)
    with fails(Status.NTE_BAD_DATA):
        answer = answer_reset(bytes.fromhex(asked_by_bob), reset_key)
        unlock_pin(binding, Pin(bytearray(b"684037")), answer, bob)
    unlock_pin(binding, Pin(bytearray(b"684037")), answer_reset(asked, reset_key), bob)

    assert decode_reset(asked).owner == bob
    assert world.run(BOB, PASSPORT + f"tell({sign})") == 64


def test_containers_are_files_of_the_trustlets_user(system: SystemInstance) -> None:
    containers = system.instance.containers
    found = {path.name for path in containers.iterdir()}

    assert found == {str(uid_of(user)) for user in (ALICE, BOB)}
    for path in (containers, *containers.rglob("*")):
        assert path.stat().st_uid == uid_of(TRUSTLET)
        assert path.stat().st_mode & 0o077 == 0
