"""What is measured. Each operation prepares a function that does it once, or a list of them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEYS: Final = {"P-256": "ECDSA_P256", "RSA-2048": "RSA", "Ed25519": "ED25519", "AES-256": "AES"}
"""The keys that the instance has, by name, with their algorithms."""

VBS_KEYS: Final = {"P-256 vbs": "ECDSA_P256", "RSA-2048 vbs": "RSA"}
"""Those that armed workers hold, where the machine can arm."""

DIGEST: Final = hashlib.sha256(b"keyiso bench").digest()
MESSAGE: Final = bytes(4096)
LISTS: Final = {"P-256": 256, "RSA-2048": 64, "Ed25519": 256}
"""Hashes in one call of ``Key.sign_digests``."""

EMPTY: Final = "empty call"

Do = Callable[[], object]


@dataclass(frozen=True)
class Operation:
    """One row of a report."""

    name: str
    prepare: Callable[[], Do]
    """Called once in each client process."""
    baseline: str = ""
    """The operation in the same process that this one is compared with."""
    count: int = 1
    """How many are done in one call."""


def _operations() -> Iterable[Operation]:
    yield Operation(EMPTY, _empty_call)
    for key in ("P-256", "RSA-2048", "Ed25519"):
        inside = f"{key} in process"
        yield Operation(inside, lambda key=key: _sign_in_process(key))  # type: ignore[misc]
        yield Operation(f"{key} Key", lambda key=key: _sign(key), inside)  # type: ignore[misc]
        yield Operation(f"{key} NCrypt", lambda key=key: _sign_hash(key), inside)  # type: ignore[misc]
        if f"{key} vbs" in VBS_KEYS:
            yield Operation(
                f"{key} Key, vbs",
                lambda key=key: _sign(f"{key} vbs"),  # type: ignore[misc]
                inside,
            )
        yield Operation(
            f"{key} Key, lists",
            lambda key=key: _sign_list(key),  # type: ignore[misc]
            inside,
            LISTS[key],
        )
    inside = "AES-GCM 4 KiB in process"
    yield Operation(inside, _encrypt_in_process)
    yield Operation("AES-GCM 4 KiB Key", _encrypt, inside)
    yield Operation("AES-GCM 4 KiB NCrypt", _ncrypt_encrypt, inside)


def _empty_call() -> Do:
    """One round trip to a worker that does nothing: the price of a process boundary."""
    from keyiso.client.binding import bind_process

    return bind_process(os.environ).ping


def _sign_in_process(key: str) -> Do:
    """`cryptography` in this process: what isolation is compared with."""
    prehashed = utils.Prehashed(hashes.SHA256())
    if key == "P-256":
        curve_key, ecdsa = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(prehashed)
        return lambda: curve_key.sign(DIGEST, ecdsa)
    if key == "Ed25519":
        edwards_key = ed25519.Ed25519PrivateKey.generate()
        return lambda: edwards_key.sign(DIGEST)
    rsa_key, pkcs1 = rsa.generate_private_key(65537, 2048), padding.PKCS1v15()
    return lambda: rsa_key.sign(DIGEST, pkcs1, prehashed)


def _sign(name: str) -> Do:
    key, options = _opened(name), _padding(name)
    return lambda: key.sign_digest(DIGEST, **options)


def _sign_list(name: str) -> Do:
    key, options, digests = _opened(name), _padding(name), [DIGEST] * LISTS[name]
    return lambda: key.sign_digests(digests, **options)


def _sign_hash(name: str) -> Do:
    from keyiso import flags, ncrypt

    handle = _opened(name).handle
    if name != "RSA-2048":
        return lambda: ncrypt.NCryptSignHash(handle, None, DIGEST)
    info = ncrypt.BCRYPT_PKCS1_PADDING_INFO("SHA256")
    return lambda: ncrypt.NCryptSignHash(handle, info, DIGEST, flags.NCRYPT_PAD_PKCS1_FLAG)


def _encrypt_in_process() -> Do:
    cipher = AESGCM(AESGCM.generate_key(256))
    return lambda: cipher.encrypt(os.urandom(12), MESSAGE, None)


def _encrypt() -> Do:
    key = _opened("AES-256")
    return lambda: key.encrypt(MESSAGE)


def _ncrypt_encrypt() -> Do:
    from keyiso import flags, ncrypt

    handle = _opened("AES-256").handle

    def encrypt() -> object:
        mode = ncrypt.BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO(os.urandom(12), bytearray(16))
        info = ncrypt.NCRYPT_CIPHER_PADDING_INFO(pbOtherInfo=mode)
        return ncrypt.NCryptEncrypt(handle, MESSAGE, info, flags.NCRYPT_PAD_CIPHER_FLAG)

    return encrypt


def _opened(name: str) -> Any:
    from keyiso import Key

    key = Key.open(name)
    _open_keys.append(key)
    return key


_open_keys: list[Any] = []
"""A key ends with its object; a handle alone does not keep it."""


def _padding(name: str) -> dict[str, Any]:
    return {"padding": "PKCS1"} if name.startswith("RSA") else {}


OPERATIONS: Final = {operation.name: operation for operation in _operations()}
