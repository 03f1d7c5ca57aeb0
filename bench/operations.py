"""What is measured: each name gives a function without arguments that does it once."""

import hashlib
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

DIGEST = hashlib.sha256(b"keyiso bench").digest()
KEYS = {"P-256": ("bench-p256", "ECDSA_P256"), "RSA-2048": ("bench-rsa2048", "RSA")}


def in_process(algorithm: str) -> Callable[[], object]:
    """`cryptography` in this process: the speed that isolation is compared with."""
    prehashed = utils.Prehashed(hashes.SHA256())
    if algorithm == "P-256":
        curve_key = ec.generate_private_key(ec.SECP256R1())
        ecdsa = ec.ECDSA(prehashed)
        return lambda: curve_key.sign(DIGEST, ecdsa)
    rsa_key = rsa.generate_private_key(65537, 2048)
    pkcs1 = padding.PKCS1v15()
    return lambda: rsa_key.sign(DIGEST, pkcs1, prehashed)


def isolated(algorithm: str) -> Callable[[], object]:
    """The same through ``Key.sign_digest``."""
    from keyiso import Key

    key = Key.open(KEYS[algorithm][0])
    if algorithm == "P-256":
        return lambda: key.sign_digest(DIGEST)
    return lambda: key.sign_digest(DIGEST, padding="PKCS1")


def empty_call() -> Callable[[], object]:
    """One round trip to a worker that does nothing: the price of a process boundary."""
    import os

    from keyiso.client.binding import bind_process

    return bind_process(os.environ).ping


OPERATIONS: dict[str, Callable[[], Callable[[], object]]] = {
    "empty call": empty_call,
    "P-256, in process": lambda: in_process("P-256"),
    "P-256, key.sign": lambda: isolated("P-256"),
    "RSA-2048, in process": lambda: in_process("RSA-2048"),
    "RSA-2048, key.sign": lambda: isolated("RSA-2048"),
}
COMPARED_WITH = {
    "P-256, key.sign": "P-256, in process",
    "RSA-2048, key.sign": "RSA-2048, in process",
}
