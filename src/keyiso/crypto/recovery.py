"""Recovery: machine roots sealed to a key that was made on another machine.

A *recovery copy* is a root under HPKE to the public recovery key. To restore, an armed worker makes
a key of its own and sends it with the copies as a *request*; where the private recovery key is, the
copies are opened and sealed to the worker's key, as an *answer*. So the recovery key stays where
it is, and nothing that lies or travels in between opens a root.

Each of the three begins with a version byte, 1.
"""

import hashlib
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyiso import limits
from keyiso.crypto.hand_carried import (
    VERSION,
    Messages,
    no_public_key,
    seal_message,
    unusable,
)
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.crypto.public_keys import fingerprint
from keyiso.errors import ncrypt_error
from keyiso.status import Status

_MESSAGES: Final = Messages(limits.RECOVERY_TEXT_BYTES)


class RecoveryCopy(msgspec.Struct, frozen=True, array_like=True):
    """A root that only the recovery key opens."""

    root_id: bytes
    sealed: bytes


class RecoveryRequest(msgspec.Struct, frozen=True, array_like=True):
    """What a worker wants to have opened."""

    worker_key: bytes
    """X25519, 32 bytes; its private half never leaves the armed worker."""
    recovery_key: bytes
    """The fingerprint of the recovery key."""
    copies: tuple[RecoveryCopy, ...]


class RecoveredRoots(msgspec.Struct, frozen=True, array_like=True):
    """What an answer holds."""

    recovery_key: bytes
    """The public recovery key, 32 bytes: new roots are sealed to it too."""
    secrets: tuple[bytes, ...]
    """In the order of the request's copies."""

    def __repr__(self) -> str:
        return f"RecoveredRoots({len(self.secrets)})"


def recovery_fingerprint(public_key: bytes) -> bytes:
    """What a recovery key is known by: SHA-256 of its SubjectPublicKeyInfo, 32 bytes.

    Raises ``NTE_BAD_DATA`` for what is no X25519 key.
    """
    try:
        public = X25519PublicKey.from_public_bytes(public_key)
    except ValueError:
        raise no_public_key() from None
    return fingerprint(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def seal_for_recovery(root: Root, public_key: bytes) -> bytes:
    """The recovery copy of a root, for a public recovery key (32 bytes)."""
    return seal_message(root.secret, public_key, _copy_info(root.root_id))


def encode_request(request: RecoveryRequest) -> bytes:
    """A request's bytes."""
    return bytes([VERSION]) + msgspec.msgpack.encode(request)


def decode_request(data: bytes) -> RecoveryRequest:
    """A request of its bytes. Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER``."""
    try:
        request = msgspec.msgpack.decode(_MESSAGES.body(data, "request"), type=RecoveryRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unusable("request", "it cannot be read") from None
    if not 1 <= len(request.copies) <= limits.MACHINE_ROOTS:
        raise unusable("request", f"it has {len(request.copies)} roots")
    return request


def answer_request(data: bytes, recovery_key: X25519PrivateKey) -> bytes:
    """The answer to a request's bytes: its roots, for nobody but the worker that asked.

    Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER`` for what is no request, or one that was changed;
    ``NTE_BAD_KEY`` for a request to another recovery key.
    """
    request = decode_request(data)
    public_key = recovery_key.public_key().public_bytes_raw()
    if request.recovery_key != recovery_fingerprint(public_key):
        raise ncrypt_error(
            Status.NTE_BAD_KEY,
            f"the roots were sealed to the recovery key {request.recovery_key.hex()}, and this is"
            f" {recovery_fingerprint(public_key).hex()}",
        )
    secrets = tuple(
        _MESSAGES.opened(copy.sealed, recovery_key, _copy_info(copy.root_id), "recovery copy")
        for copy in request.copies
    )
    recovered = msgspec.msgpack.encode(RecoveredRoots(public_key, secrets))
    return seal_message(recovered, request.worker_key, _answer_info(data))


def open_answer(
    data: bytes, worker_key: X25519PrivateKey, asked: bytes
) -> tuple[bytes, tuple[Root, ...]]:
    """The public recovery key, and the roots that an answer brings.

    Only an armed worker calls this; ``asked`` is its request. Raises ``NTE_BAD_DATA`` for what is
    not the answer to it, ``NTE_BAD_VER`` for one of an unknown version.
    """
    request = decode_request(asked)
    opened = _MESSAGES.opened(data, worker_key, _answer_info(asked), "answer")
    try:
        recovered = msgspec.msgpack.decode(opened, type=RecoveredRoots)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unusable("answer", "it cannot be read") from None
    if recovery_fingerprint(recovered.recovery_key) != request.recovery_key:
        raise unusable("answer", "it comes from another recovery key")
    if [len(secret) for secret in recovered.secrets] != [SECRET_BYTES] * len(request.copies):
        raise unusable("answer", "it does not bring the roots that were asked for")
    roots = (
        Root(copy.root_id, "machine", secret)
        for copy, secret in zip(request.copies, recovered.secrets, strict=True)
    )
    return recovered.recovery_key, tuple(roots)


def _copy_info(root_id: bytes) -> bytes:
    return b"keyiso recovery copy 1" + root_id


def _answer_info(request: bytes) -> bytes:
    """An answer belongs to one request, every byte of it."""
    return b"keyiso recovery answer 1" + hashlib.sha256(request).digest()
