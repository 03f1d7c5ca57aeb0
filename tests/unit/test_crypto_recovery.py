"""Recovery copies, requests and answers: who can open what."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.crypto.key_blob import Root
from keyiso.crypto.recovery import (
    RecoveredRoots,
    RecoveryCopy,
    RecoveryRequest,
    answer_request,
    decode_request,
    encode_request,
    open_answer,
    recovery_fingerprint,
    seal_for_recovery,
)
from keyiso.status import Status
from tests.conformance.statuses import fails

RECOVERY, WORKER, OTHER = (X25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in b"rwo")
ROOTS = tuple(Root(bytes([n]) * 16, "machine", bytes([n]) * 32) for n in b"ab")


def public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def request(**changes: object) -> bytes:
    made = RecoveryRequest(
        public(WORKER),
        recovery_fingerprint(public(RECOVERY)),
        tuple(
            RecoveryCopy(root.root_id, seal_for_recovery(root, public(RECOVERY))) for root in ROOTS
        ),
    )
    return encode_request(msgspec.structs.replace(made, **changes))


def test_the_worker_gets_its_roots_and_the_public_recovery_key() -> None:
    asked = request()
    answer = answer_request(asked, RECOVERY)

    assert open_answer(answer, WORKER, asked) == (public(RECOVERY), ROOTS)
    assert not any(root.secret in asked + answer for root in ROOTS)


def test_nobody_else_opens_an_answer() -> None:
    asked = request()
    answer = answer_request(asked, RECOVERY)
    for key in (OTHER, RECOVERY):
        with fails(Status.NTE_BAD_DATA):
            open_answer(answer, key, asked)


def test_an_answer_belongs_to_one_request() -> None:
    """Even one of the same worker for the same roots: the copies are sealed anew."""
    answer = answer_request(request(), RECOVERY)
    with fails(Status.NTE_BAD_DATA):
        open_answer(answer, WORKER, request())


def test_another_recovery_key_does_not_answer() -> None:
    with fails(Status.NTE_BAD_KEY) as caught:
        answer_request(request(), OTHER)
    assert recovery_fingerprint(public(RECOVERY)).hex() in caught.value.cause


def test_a_copy_opens_only_under_its_root_id() -> None:
    sealed = seal_for_recovery(ROOTS[0], public(RECOVERY))
    with fails(Status.NTE_BAD_DATA):
        answer_request(request(copies=(RecoveryCopy(ROOTS[1].root_id, sealed),)), RECOVERY)


def test_what_is_no_root_is_not_taken() -> None:
    """Whoever has the recovery key could seal something else in an answer."""
    asked = request()
    short = Root(ROOTS[0].root_id, "machine", b"short")
    copies = (RecoveryCopy(short.root_id, seal_for_recovery(short, public(RECOVERY))),)
    with fails(Status.NTE_BAD_DATA):
        open_answer(answer_request(asked, RECOVERY), WORKER, request(copies=copies))
    asked = request(copies=copies)
    with fails(Status.NTE_BAD_DATA) as caught:
        open_answer(answer_request(asked, RECOVERY), WORKER, asked)
    assert "roots that were asked for" in caught.value.cause


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32)], ids=len)
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with fails(Status.NTE_BAD_DATA):
        seal_for_recovery(ROOTS[0], key)
    with fails(Status.NTE_BAD_DATA):
        answer_request(request(worker_key=key), RECOVERY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\1",
        b"\1\xc1",
        request()[:-1],
        request(copies=()),
        request(copies=(RecoveryCopy(b"i" * 16, b""),) * (limits.MACHINE_ROOTS + 1)),
        request() + bytes(limits.RECOVERY_TEXT_BYTES),
    ],
    ids=range(7),
)
def test_a_damaged_request_is_refused(data: bytes) -> None:
    with fails(Status.NTE_BAD_DATA):
        decode_request(data)


def test_another_version_is_refused() -> None:
    asked = request()
    with fails(Status.NTE_BAD_VER):
        decode_request(b"\2" + asked[1:])
    with fails(Status.NTE_BAD_VER):
        open_answer(b"\2" + answer_request(asked, RECOVERY)[1:], WORKER, asked)


def test_recovered_roots_are_not_printed() -> None:
    assert repr(RecoveredRoots(b"k" * 32, (b"secret",) * 2)) == "RecoveredRoots(2)"
