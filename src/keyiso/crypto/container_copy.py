"""A container's secret for the day on which the PIN is forgotten: under a reset key.

The *reset key* is a recovery key: it is made on another machine, and a container has its public
half. The secret's *copy* is under HPKE to it. To reset a PIN and keep the keys, a trustlet sends
the copy with a key of its own as a *request*; where the private reset key is, the copy is opened
and sealed to the trustlet's key, as an *answer*. That proves nothing about who made it: the
container compares what it brings.

Each of the three begins with a version byte, 1.
"""

import hashlib
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.crypto.container_secret import ContainerSecret, container_secret
from keyiso.crypto.hand_carried import (
    VERSION,
    Messages,
    seal_message,
    unusable,
)
from keyiso.crypto.recovery import recovery_fingerprint
from keyiso.errors import ncrypt_error
from keyiso.status import Status

_MESSAGES: Final = Messages(limits.RESET_BYTES)


class ResetRequest(msgspec.Struct, frozen=True, array_like=True):
    """What a trustlet wants to have opened."""

    worker_key: bytes
    """X25519, 32 bytes; for this one answer."""
    container_id: bytes
    owner: int
    """The user's uid, for who is asked."""
    reset_key: bytes
    """The fingerprint of the reset key."""
    copy: bytes


def seal_copy(secret: ContainerSecret, reset_key: bytes) -> bytes:
    """The copy of a secret, for a public reset key (X25519, 32 bytes). Raises ``NTE_BAD_DATA`` for
    what is no such key."""
    return seal_message(secret.secret, reset_key, _copy_info(secret.container_id))


def encode_reset(request: ResetRequest) -> bytes:
    """A request's bytes."""
    return bytes([VERSION]) + msgspec.msgpack.encode(request)


def decode_reset(data: bytes) -> ResetRequest:
    """A request of its bytes. Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER``."""
    try:
        request = msgspec.msgpack.decode(_MESSAGES.body(data, "request"), type=ResetRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unusable("request", "it cannot be read") from None
    if len(request.container_id) != limits.CONTAINER_ID_BYTES:
        raise unusable("request", "its container's id has another length")
    return request


def answer_reset(data: bytes, reset_key: X25519PrivateKey) -> bytes:
    """The answer to a request's bytes: the secret, for nobody but the trustlet that asked.

    Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER`` for what is no request, or one that was changed, and
    ``NTE_BAD_KEY`` for one to another reset key.
    """
    request = decode_reset(data)
    known_by = recovery_fingerprint(reset_key.public_key().public_bytes_raw())
    if request.reset_key != known_by:
        raise ncrypt_error(
            Status.NTE_BAD_KEY,
            f"the container's reset key is {request.reset_key.hex()}, and this is {known_by.hex()}",
        )
    secret = _MESSAGES.opened(request.copy, reset_key, _copy_info(request.container_id), "copy")
    return seal_message(secret, request.worker_key, _answer_info(data))


def open_reset(data: bytes, worker_key: X25519PrivateKey, asked: bytes) -> ContainerSecret:
    """The secret that the answer to a request brings, on nobody's word.

    Raises ``NTE_BAD_DATA`` for what is not the answer to it, ``NTE_BAD_VER`` for one of an unknown
    version.
    """
    request = decode_reset(asked)
    opened = _MESSAGES.opened(data, worker_key, _answer_info(asked), "answer")
    return container_secret(request.container_id, opened)


def _copy_info(container_id: bytes) -> bytes:
    return b"keyiso container copy 1" + container_id


def _answer_info(request: bytes) -> bytes:
    """An answer belongs to one request, every byte of it."""
    return b"keyiso container answer 1" + hashlib.sha256(request).digest()
