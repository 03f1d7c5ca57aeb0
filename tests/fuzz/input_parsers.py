"""What users hand over in files, and what services say to their supervisor."""

import base64
import io
import os
import socket
from types import SimpleNamespace
from typing import Any

import click
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from keyiso import limits
from keyiso.cli.key._signing import Form, _read_digest, read_signature
from keyiso.cli.key.import_ import _load
from keyiso.crypto.key_types import AsymmetricPrivateKey, PublicKey
from keyiso.crypto.signatures import signature_bytes
from keyiso.providers.software import _clear_pkcs8
from keyiso.server.loop import READ
from keyiso.status import Status
from keyiso.supervisor.watchdog import Watchdog
from tests.fuzz.key_parsers import P256, UNKNOWN_CURVE
from tests.fuzz.parser import Parser, statuses
from tests.unit.samples import CURVES, ec_key, pkcs8, rsa_key

EDWARDS = ed25519.Ed25519PrivateKey.generate()

KEYS: dict[str, PublicKey] = {
    "RSA": rsa_key().public_key(),
    "ED25519": EDWARDS.public_key(),
    **{name: ec_key(name).public_key() for name in CURVES},
}


def signature_parsers() -> list[Parser]:
    """A file with a signature, as `keyiso key verify` reads it."""

    def parser(algorithm: str, form: Form | None) -> Parser:
        key: Any = SimpleNamespace(algorithm=algorithm, public_key=lambda: KEYS[algorithm])
        size = signature_bytes(KEYS[algorithm])
        good = [bytes([1]) * size, b"\xff" * size]
        if algorithm in CURVES:
            good.append(ec_key(algorithm).sign(b"message", ec.ECDSA(hashes.SHA256())))
        good += [base64.b64encode(one) + b"\n" for one in good]

        def parse(data: bytes) -> None:
            assert len(read_signature(key, io.BytesIO(data), form)) == size

        name = form.value if form else "the usual form"
        return Parser(
            f"a signature of {algorithm} in {name}", parse, good, statuses(Status.NTE_BAD_SIGNATURE)
        )

    return [
        parser(algorithm, form)
        for algorithm, forms in (
            ("RSA", (None, Form.BASE64)),
            ("ED25519", (None, Form.BASE64)),
            ("ECDSA_P256", (None, Form.RAW, Form.BASE64)),
            ("ECDSA_P521", (None,)),
        )
        for form in forms
    ]


def digest_parser() -> Parser:
    return Parser(
        "a digest",
        lambda data: _read_digest(io.BytesIO(data), "SHA256"),
        [bytes(32), bytes(31), bytes(20)],
        statuses(Status.NTE_BAD_LEN),
    )


def key_file_parser() -> Parser:
    """A file with a private key, as `keyiso key import` reads it."""
    formats = serialization.PrivateFormat
    encryption = serialization.NoEncryption()
    good = [
        key.private_bytes(encoding, form, encryption)
        for key in (ec_key(), EDWARDS)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
        for form in (formats.PKCS8, formats.TraditionalOpenSSL)
        if not (key is EDWARDS and form is formats.TraditionalOpenSSL)
    ]
    encrypted = ec_key().private_bytes(
        serialization.Encoding.PEM,
        formats.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )
    return Parser(
        "a file with a private key",
        lambda data: _load(data, None),
        [*good, encrypted],
        statuses(Status.NTE_BAD_DATA, Status.NTE_NOT_SUPPORTED) | {click.UsageError},
        {InternalError: SHORT_EDWARDS},
    )


def protected_key_parser() -> Parser:
    """A PKCS #8 key under a password, which is taken off in the application's process."""
    keys: list[AsymmetricPrivateKey] = [ec_key(), *[EDWARDS] * 3]
    encryptions: list[serialization.KeySerializationEncryption] = [
        serialization.BestAvailableEncryption(b"password"),
        *[serialization.NoEncryption()] * 3,
    ]

    def parse(data: bytes) -> None:
        if not _MOST_ITERATIONS < _iterations(data) <= limits.PASSWORD_ITERATIONS:
            _clear_pkcs8(data, "password")

    return Parser(
        "a key under a password",
        parse,
        [
            key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, encryption
            )
            for key, encryption in zip(keys, encryptions, strict=True)
        ],
        statuses(Status.NTE_BAD_DATA, Status.NTE_NOT_SUPPORTED, Status.KEYISO_E_LIMIT),
        {
            InternalError: SHORT_EDWARDS,
            UnsupportedAlgorithm: pkcs8(ec_key()).replace(P256, UNKNOWN_CURVE),
        },
    )


PBKDF2 = bytes.fromhex("2a864886f70d01050c")
SHORT_EDWARDS = bytes.fromhex("302d020100300506032b65700421041f") + bytes(31)
"""An Ed25519 key that lacks a byte."""

_MOST_ITERATIONS = 5_000
"""More are given only where they must be refused: they would take the time of the other inputs."""


def _iterations(data: bytes) -> int:
    """How often PBKDF2 is to go round, as the key's file says."""
    _, found, parameters = data.partition(PBKDF2)
    salt = parameters[3:4]
    if not found or not salt:
        return 0
    number = parameters[4 + salt[0] :]
    return int.from_bytes(number[2 : 2 + number[1]], "big") if len(number) > 1 else 0


def notification_parser() -> Parser:
    """A datagram of a service (sd_notify(3)), some with descriptors that nobody asked for."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    beats: list[tuple[int, frozenset[bytes]]] = []
    loop: Any = SimpleNamespace(watch=lambda *arguments: None)
    watchdog = Watchdog(loop, theirs, lambda pid, lines: beats.append((pid, lines)))

    def parse(data: bytes) -> None:
        beats.clear()
        data = data[:4096]
        data = data or b"\0"
        descriptors = [ours.fileno()] * (len(data) % 3)
        socket.send_fds(ours, [data], descriptors)
        watchdog._ready(READ)
        assert beats == [(os.getpid(), frozenset(data.split(b"\n")))]

    return Parser(
        "a notification",
        parse,
        [b"WATCHDOG=1", b"READY=1\nWATCHDOG=1\nSTATUS=x", b"READY=1", b"WATCHDOG=11"],
        frozenset(),
    )


PARSERS = [
    *signature_parsers(),
    digest_parser(),
    key_file_parser(),
    protected_key_parser(),
    notification_parser(),
]
