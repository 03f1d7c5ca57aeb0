"""The PIN index: it counts in hardware, and its owner cannot put another one in its place."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.tpm.capabilities import lockout_state
from keyiso.tpm.constants import TPM_RH
from keyiso.tpm.entity import Entity
from keyiso.tpm.nv_commands import TPM2_NV_DefineSpace, TPM2_NV_Write
from keyiso.tpm.pin_index import (
    PinCounters,
    PinIndex,
    define_pin_index,
    read_pin_counters,
    remove_pin_index,
    write_pin_counters,
)
from keyiso.tpm.pin_sealed import PinSealed, decode_pin_sealed, seal_under_pin, unseal_with_pin
from keyiso.tpm.policy import Policy
from keyiso.tpm.session import EmptyPassword
from keyiso.tpm.srk import PinnedSrk, enrol_srk
from keyiso.tpm.tpm import Tpm
from tests.conformance.statuses import fails
from tests.tpm.held_in import holds_nothing_after_any_failure
from tests.tpm.swtpm import Swtpm

SECRET = b"under the PIN"
RIGHT = b"r" * 31 + b"\0"
"""An authValue that ends with a zero, which the TPM drops."""
WRONG = b"w" * 32
HANDLE = 0x01800007
NOT_IN_THIS_MANNER = (Status.TPM_20_E_NV_AUTHORIZATION, Status.TPM_20_E_AUTH_UNAVAILABLE)
WRITER = ec.generate_private_key(ec.SECP256R1())


def enrolled(tpm: Tpm, limit: int = 3) -> tuple[PinnedSrk, PinIndex, PinSealed]:
    srk = enrol_srk(tpm)
    index = define_pin_index(tpm, srk, HANDLE, RIGHT, WRITER, limit)
    stored = seal_under_pin(tpm, SECRET, srk, index)
    return srk, index, decode_pin_sealed(stored.encode())


def wrong_attempt(tpm: Tpm, stored: PinSealed) -> None:
    with fails(Status.TPM_20_E_AUTH_FAIL):
        unseal_with_pin(tpm, stored, WRONG)


def test_the_right_pin_opens_and_sets_the_count_back(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm)
        wrong_attempt(tpm, stored)
        wrong_attempt(tpm, stored)

        assert read_pin_counters(tpm, srk, index) == PinCounters(2, 3)
        assert unseal_with_pin(tpm, stored, RIGHT) == SECRET
        assert read_pin_counters(tpm, srk, index) == PinCounters(0, 3)


def test_after_so_many_wrong_pins_the_right_one_opens_nothing(swtpm: Swtpm) -> None:
    """Not even after a restart, and the TPM's own lockout has counted nothing."""
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm)
        for _ in range(3):
            wrong_attempt(tpm, stored)
        with fails(Status.TPM_20_E_LOCKOUT):
            unseal_with_pin(tpm, stored, RIGHT)
    swtpm.reboot(orderly=False)
    with swtpm.opened() as tpm:
        with fails(Status.TPM_20_E_LOCKOUT):
            unseal_with_pin(tpm, stored, RIGHT)

        assert read_pin_counters(tpm, srk, index) == PinCounters(3, 3)
        assert lockout_state(tpm).failures == 0


def test_a_count_survives_a_power_loss(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm)
        wrong_attempt(tpm, stored)
    swtpm.reboot(orderly=False)
    with swtpm.opened() as tpm:
        assert read_pin_counters(tpm, srk, index) == PinCounters(1, 3)


def test_the_writer_lets_another_attempt_happen(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm, limit=1)
        wrong_attempt(tpm, stored)
        write_pin_counters(tpm, srk, index, PinCounters(0, 1), WRITER)

        assert unseal_with_pin(tpm, stored, RIGHT) == SECRET


def test_nobody_else_writes(swtpm: Swtpm) -> None:
    """Not another key, and not the owner."""
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm, limit=1)
        wrong_attempt(tpm, stored)
        other = ec.generate_private_key(ec.SECP256R1())
        with fails(Status.TPM_20_E_SIGNATURE):
            write_pin_counters(tpm, srk, index, PinCounters(0, 1), other)
        owner, entity = Entity.of(TPM_RH.OWNER), index.entity()
        for who in (owner, entity):
            write = TPM2_NV_Write(who, entity, PinCounters(0, 1).encode(), 0)
            with pytest.raises(NCryptError) as caught:
                tpm.run(write, EmptyPassword())
            assert caught.value.status in NOT_IN_THIS_MANNER

        assert read_pin_counters(tpm, srk, index) == PinCounters(1, 1)


def test_an_index_that_the_owner_defined_anew_opens_nothing(swtpm: Swtpm) -> None:
    """The same public area and an authValue of his own: it was never written, and cannot be."""
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm)
        remove_pin_index(tpm, srk, HANDLE)
        tpm.run(
            TPM2_NV_DefineSpace(Entity.of(TPM_RH.OWNER), WRONG, index.public(written=False)),
            EmptyPassword(),
        )
        for operation in (
            lambda: unseal_with_pin(tpm, stored, WRONG),
            lambda: read_pin_counters(tpm, srk, index),
            lambda: write_pin_counters(tpm, srk, index, PinCounters(0, 3), WRITER),
        ):
            with fails(Status.KEYISO_E_TPM_PIN_INDEX) as caught:
                operation()
            assert "another one, or was never written" in caught.value.cause


def test_a_missing_index_is_told_from_a_wrong_pin(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm)
        remove_pin_index(tpm, srk, HANDLE)
        for operation in (
            lambda: unseal_with_pin(tpm, stored, RIGHT),
            lambda: read_pin_counters(tpm, srk, index),
            lambda: remove_pin_index(tpm, srk, HANDLE),
        ):
            with fails(Status.KEYISO_E_TPM_PIN_INDEX) as caught:
                operation()
            assert "does not exist" in caught.value.cause


def test_an_index_that_is_defined_again_has_another_name(swtpm: Swtpm) -> None:
    """Else the first write to the second one would also be good for what the owner puts there."""
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm)
        remove_pin_index(tpm, srk, HANDLE)
        again = define_pin_index(tpm, srk, HANDLE, RIGHT, WRITER, 3)

        assert again.entity().name != index.entity().name
        with fails(Status.KEYISO_E_TPM_PIN_INDEX):
            unseal_with_pin(tpm, stored, RIGHT)


def test_a_handle_that_is_taken_is_left_alone(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk, _, stored = enrolled(tpm)
        with fails(Status.TPM_20_E_NV_DEFINED):
            define_pin_index(tpm, srk, HANDLE, WRONG, WRITER, 3)

        assert unseal_with_pin(tpm, stored, RIGHT) == SECRET


def test_an_index_of_another_kind_is_not_removed(swtpm: Swtpm) -> None:
    swtpm.tool("tpm2_nvdefine", hex(HANDLE), "-C", "o", "-s", "8", "-a", "ownerread|ownerwrite")
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        with fails(Status.KEYISO_E_TPM_PIN_INDEX):
            remove_pin_index(tpm, srk, HANDLE)
    assert hex(HANDLE) in swtpm.tool("tpm2_nvreadpublic")


def test_nothing_is_held_after_an_operation_that_failed_anywhere(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        srk, index, stored = enrolled(tpm)
    for operation in (
        lambda tpm: unseal_with_pin(tpm, stored, RIGHT),
        lambda tpm: write_pin_counters(tpm, srk, index, PinCounters(0, 3), WRITER),
        lambda tpm: read_pin_counters(tpm, srk, index),
        lambda tpm: seal_under_pin(tpm, SECRET, srk, index),
    ):
        holds_nothing_after_any_failure(swtpm, operation)


@pytest.mark.parametrize(
    ("handle", "auth_value", "writer"),
    [
        (0x01500000, RIGHT, WRITER),
        (0x81000001, RIGHT, WRITER),
        (HANDLE, b"1234", WRITER),
        (HANDLE, bytes(33), WRITER),
        (HANDLE, RIGHT, ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["platform's handle", "no index", "a PIN itself", "too long", "P-384"],
)
def test_what_makes_no_pin_index_is_refused(
    swtpm: Swtpm, handle: int, auth_value: bytes, writer: ec.EllipticCurvePrivateKey
) -> None:
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
        with fails(Status.NTE_INVALID_PARAMETER):
            define_pin_index(tpm, srk, handle, auth_value, writer, 3)


def test_tpm2_tools_see_the_index_as_it_was_defined(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        _, index, _ = enrolled(tpm)
    seen = swtpm.tool("tpm2_nvreadpublic", hex(HANDLE))

    assert f"name: {index.entity().name.hex()}" in seen
    assert "value: 0x22020088" in seen  # NO_DA, WRITTEN, OWNERREAD, PIN_FAIL, POLICYWRITE
    assert f"authorization policy: {index.public().auth_policy.hex().upper()}" in seen
    assert swtpm.tool("tpm2_nvread", hex(HANDLE), "-C", "o", "-s", "8") == "\0\0\0\0\0\0\0\3"


def test_a_stored_secret_that_more_than_its_index_opens_is_refused(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        _, index, stored = enrolled(tpm)
    fields = stored.encode_fields()
    other_index = msgspec.structs.replace(index, reference=b"r" * 16)
    public = msgspec.structs.replace(stored.sealed.public, auth_policy=Policy().digest)
    other_policy = msgspec.structs.replace(stored.sealed, public=public)
    for changed in ({"index": other_index.encode()}, {"sealed": other_policy.encode()}):
        with fails(Status.NTE_BAD_DATA):
            decode_pin_sealed(b"".join((fields | changed).values()))
    with fails(Status.NTE_BAD_VER):
        decode_pin_sealed(b"\0" + stored.encode()[1:])
