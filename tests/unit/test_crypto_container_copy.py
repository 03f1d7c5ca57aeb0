"""A container's copy, a request and its answer: who can open what."""

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso.crypto.container_copy import (
    ResetRequest,
    answer_reset,
    decode_reset,
    encode_reset,
    open_reset,
    seal_copy,
)
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.recovery import recovery_fingerprint
from keyiso.status import Status
from tests.conformance.statuses import fails

SECRET = ContainerSecret(b"c" * 16, b"s" * 32)
RESET, WORKER, OTHER = (X25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in b"rwo")


def public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def request(**changes: object) -> bytes:
    made = ResetRequest(
        public(WORKER),
        SECRET.container_id,
        1000,
        recovery_fingerprint(public(RESET)),
        seal_copy(SECRET, public(RESET)),
    )
    return encode_reset(msgspec.structs.replace(made, **changes))


def test_the_trustlet_that_asked_gets_the_secret() -> None:
    asked = request()
    answer = answer_reset(asked, RESET)

    assert open_reset(answer, WORKER, asked) == SECRET
    assert SECRET.secret not in asked + answer


def test_nobody_else_opens_a_copy_or_an_answer() -> None:
    asked = request()
    answer = answer_reset(asked, RESET)
    for key in (OTHER, RESET):
        with fails(Status.NTE_BAD_DATA):
            open_reset(answer, key, asked)
    for key in (OTHER, WORKER):
        with fails(Status.NTE_BAD_KEY):
            answer_reset(asked, key)
        with fails(Status.NTE_BAD_DATA):
            answer_reset(request(reset_key=recovery_fingerprint(public(key))), key)


def test_a_copy_is_its_containers_and_an_answer_its_requests() -> None:
    with fails(Status.NTE_BAD_DATA):
        answer_reset(request(container_id=b"d" * 16), RESET)
    answer = answer_reset(request(), RESET)
    with fails(Status.NTE_BAD_DATA):
        open_reset(answer, WORKER, request())
    asked = request()
    with fails(Status.NTE_BAD_DATA):
        open_reset(
            answer_reset(asked, RESET), WORKER, asked.replace(b"\xcd\x03\xe8", b"\xcd\x03\xe9")
        )


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", Status.NTE_BAD_DATA),
        (b"\2", Status.NTE_BAD_VER),
        (b"\1" + bytes(600), Status.NTE_BAD_DATA),
        (request(container_id=b"short"), Status.NTE_BAD_DATA),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, status: Status) -> None:
    with fails(status):
        decode_reset(data)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32)], ids=len)
def test_what_is_no_key_is_refused(key: bytes) -> None:
    with fails(Status.NTE_BAD_DATA):
        seal_copy(SECRET, key)
    with fails(Status.NTE_BAD_DATA):
        answer_reset(request(worker_key=key), RESET)


def test_another_secret_is_told_by_its_check_value() -> None:
    SECRET.check(SECRET.check_value)
    for other in (ContainerSecret(b"c" * 16, b"t" * 32), ContainerSecret(b"d" * 16, b"s" * 32)):
        with fails(Status.NTE_BAD_DATA):
            other.check(SECRET.check_value)
