"""Values of the largest size, and one byte more, from a client that checks nothing itself.

The longest ones are taken; what is longer is refused for what it is, and the connection goes on.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import limits
from keyiso.crypto.agreement import Derivation
from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.encryption import EncryptionPadding
from keyiso.crypto.import_seal import VERSION
from keyiso.crypto.signatures import Padding
from keyiso.status import Status, status_name
from keyiso.wire.channel import Decipher, Decrypt, Derive, Encipher, ExportPrivate, Sign
from keyiso.wire.control import (
    Attach,
    Bind,
    CreateKey,
    EnumKeys,
    FindKey,
    GetImportKey,
    ImportKey,
    OpenEphemeral,
    OpenKey,
    ReleaseEphemeral,
)
from keyiso.wire.messages import Failure
from tests.conformance.raw_client import PROVIDER, RawClient, terms, units
from tests.conformance.ready import wait_for_workers
from tests.instance import RunningInstance

pytestmark = pytest.mark.usefixtures("everybody_else_is_served")

ID = bytes(16)
PAD_PKCS1, PAD_OAEP, PAD_PSS = 2, 4, 8
POINT = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
SEALED = limits.PRIVATE_KEY_BYTES + 49
"""A sealed import with the longest private key."""


@dataclass(frozen=True)
class Case:
    """What is asked with a value of some size."""

    ask: Callable[["Asker", int], Any]
    largest: int
    at_the_limit: str
    """The status; OK for a result."""
    above: str
    on: str = ""
    """The algorithm of the key whose channel is asked; empty for the control connection."""


@dataclass
class Asker:
    """A client with a loaded key of each kind."""

    control: RawClient
    channels: dict[str, tuple[RawClient, int]]
    worker: bytes

    def load(self, algorithm: str, bits: int) -> None:
        made = self.control.call(CreateKey(terms(algorithm=algorithm, bits=bits, export_policy=3)))
        channel, attached = self.control.attach()
        opening = OpenEphemeral(made.blob, attached.channel_id, attached.worker_instance)
        self.channels[algorithm] = channel, self.control.call(opening).slot


@pytest.fixture(scope="module")
def asker(shared_instance: RunningInstance) -> Iterator[Asker]:
    wait_for_workers(shared_instance)
    with contextlib.ExitStack() as stack:
        control = stack.enter_context(RawClient.bound(shared_instance.instance.control_socket))
        asker = Asker(control, {}, b"")
        for algorithm, bits in (
            ("RSA", 2048),
            ("ECDSA_P256", 256),
            ("ECDH_P256", 256),
            ("ED25519", 256),
            ("AES", 256),
        ):
            asker.load(algorithm, bits)
        asker.worker = control.call(GetImportKey()).worker_instance
        yield asker


def slot(asker: Asker, algorithm: str) -> int:
    return asker.channels[algorithm][1]


CBC = CipherParameters("ChainingModeCBC", bytes(16))


def gcm(data: int) -> CipherParameters:
    return CipherParameters("ChainingModeGCM", bytes(12), bytes(data))


CASES: dict[str, Case] = {
    # What travels on the control connection.
    "name": Case(
        lambda asker, size: FindKey(PROVIDER, "user", units("n" * size)),
        limits.NAME_UNITS,
        "NTE_BAD_KEYSET",
        "NTE_INVALID_PARAMETER",
    ),
    "name of a new key": Case(
        lambda asker, size: CreateKey(terms("n" * size, overwrite=True)),
        limits.NAME_UNITS,
        "OK",
        "NTE_INVALID_PARAMETER",
    ),
    "name to go on from": Case(
        lambda asker, size: EnumKeys(PROVIDER, "user", bytes(size)),
        1_000_000,
        "OK",
        "OK",
    ),
    "provider": Case(
        lambda asker, size: OpenKey("p" * size, "user", units("n"), ID, ID),
        limits.PROVIDER_NAME_UNITS,
        "NTE_BAD_PROVIDER",
        "NTE_BAD_PROVIDER",
    ),
    "algorithm": Case(
        lambda asker, size: CreateKey(terms(algorithm="a" * size)),
        limits.ALGORITHM_NAME_UNITS,
        "NTE_NOT_SUPPORTED",
        "NTE_NOT_SUPPORTED",
    ),
    "process": Case(
        lambda asker, size: Bind(os.urandom(16), "p" * size),
        limits.HOP_TEXT_BYTES,
        "OK",
        "OK",
    ),
    "workers to avoid": Case(
        lambda asker, size: Attach((ID,) * size),
        50_000,
        "OK",
        "OK",
    ),
    "sealed import": Case(
        lambda asker, size: ImportKey(
            terms(algorithm="", bits=0), asker.worker, bytes([VERSION]) + bytes(size - 1)
        ),
        SEALED,
        "NTE_BAD_DATA",
        "KEYISO_E_LIMIT",
    ),
    "blob": Case(
        lambda asker, size: ReleaseEphemeral(b"\x01" + bytes(size - 1)),
        limits.KEY_BLOB_BYTES,
        "NTE_BAD_DATA",
        "NTE_BAD_DATA",
    ),
    # What travels on a key channel.
    "digest": Case(
        lambda asker, size: Sign(slot(asker, "ECDSA_P256"), bytes(size), Padding()),
        limits.DIGEST_BYTES,
        "OK",
        "NTE_INVALID_PARAMETER",
        "ECDSA_P256",
    ),
    "message": Case(
        lambda asker, size: Sign(slot(asker, "ED25519"), bytes(size), Padding()),
        limits.MESSAGE_BYTES,
        "OK",
        "NTE_INVALID_PARAMETER",
        "ED25519",
    ),
    "salt": Case(
        lambda asker, size: Sign(slot(asker, "RSA"), bytes(32), Padding(PAD_PSS, "SHA256", size)),
        256 - 32 - 2,
        "OK",
        "NTE_INVALID_PARAMETER",
        "RSA",
    ),
    "salt above the limit": Case(
        lambda asker, size: Sign(slot(asker, "RSA"), bytes(32), Padding(PAD_PSS, "SHA256", size)),
        limits.SALT_BYTES,
        "NTE_INVALID_PARAMETER",
        "NTE_INVALID_PARAMETER",
        "RSA",
    ),
    "name of a hash": Case(
        lambda asker, size: Sign(slot(asker, "RSA"), bytes(32), Padding(PAD_PKCS1, "h" * size)),
        limits.ALGORITHM_NAME_UNITS,
        "NTE_INVALID_PARAMETER",
        "NTE_INVALID_PARAMETER",
        "RSA",
    ),
    "label": Case(
        lambda asker, size: Decrypt(
            slot(asker, "RSA"), bytes(256), EncryptionPadding(PAD_OAEP, "SHA256", bytes(size))
        ),
        limits.OAEP_LABEL_BYTES,
        "NTE_DECRYPTION_FAILURE",
        "NTE_INVALID_PARAMETER",
        "RSA",
    ),
    "RSA ciphertext": Case(
        lambda asker, size: Decrypt(
            slot(asker, "RSA"), bytes(size), EncryptionPadding(PAD_OAEP, "SHA256")
        ),
        256,
        "NTE_DECRYPTION_FAILURE",
        "NTE_INVALID_PARAMETER",
        "RSA",
    ),
    "plain text": Case(
        lambda asker, size: Encipher(slot(asker, "AES"), bytes(size), gcm(0)),
        limits.MESSAGE_BYTES,
        "OK",
        "NTE_INVALID_PARAMETER",
        "AES",
    ),
    "ciphertext": Case(
        lambda asker, size: Decipher(slot(asker, "AES"), bytes(size), CBC),
        limits.MESSAGE_BYTES,
        "OK",
        "NTE_INVALID_PARAMETER",
        "AES",
    ),
    "data beside a ciphertext": Case(
        lambda asker, size: Encipher(slot(asker, "AES"), b"m", gcm(size)),
        limits.MESSAGE_BYTES - 1,
        "OK",
        "NTE_INVALID_PARAMETER",
        "AES",
    ),
    "other public key": Case(
        lambda asker, size: Derive(
            slot(asker, "ECDH_P256"), POINT + bytes(size), Derivation("HASH", (), 0, 0)
        ),
        0,
        "OK",
        "NTE_BAD_DATA",
        "ECDH_P256",
    ),
    "derived key": Case(
        lambda asker, size: Derive(
            slot(asker, "ECDH_P256"), POINT, Derivation("HASH", (), 0, size)
        ),
        limits.DERIVED_KEY_BYTES,
        "OK",
        "NTE_INVALID_PARAMETER",
        "ECDH_P256",
    ),
    "password": Case(
        lambda asker, size: ExportPrivate(
            slot(asker, "ECDSA_P256"), "PKCS8_PRIVATEKEY", b"p" * size
        ),
        limits.PASSWORD_BYTES,
        "OK",
        "NTE_INVALID_PARAMETER",
        "ECDSA_P256",
    ),
    "blob type": Case(
        lambda asker, size: ExportPrivate(slot(asker, "ECDSA_P256"), "t" * size, b""),
        limits.PROPERTY_NAME_UNITS,
        "NTE_NOT_SUPPORTED",
        "NTE_NOT_SUPPORTED",
        "ECDSA_P256",
    ),
}


def status_of(asker: Asker, case: Case, size: int) -> str:
    client = asker.channels[case.on][0] if case.on else asker.control
    answer = client.call(case.ask(asker, size))
    return status_name(answer.status) if isinstance(answer, Failure) else "OK"


@pytest.mark.parametrize("title", CASES)
def test_the_largest_value_and_one_more(asker: Asker, title: str) -> None:
    case = CASES[title]

    assert status_of(asker, case, case.largest) == case.at_the_limit
    assert status_of(asker, case, case.largest + 1) == case.above
    assert status_of(asker, case, case.largest) == case.at_the_limit


@pytest.mark.parametrize("title", [title for title, case in CASES.items() if case.on])
def test_as_much_as_a_frame_of_a_key_channel_holds(asker: Asker, title: str) -> None:
    """Far above each limit; no text of an error quotes it."""
    case = CASES[title]
    channel, _ = asker.channels[case.on]
    answer = channel.call(case.ask(asker, 60_000))

    if isinstance(answer, Failure):
        assert answer.status != Status.NTE_INTERNAL_ERROR
        assert len(answer.cause) < 300


@pytest.mark.parametrize("title", [title for title, case in CASES.items() if not case.on])
def test_as_much_as_a_frame_of_the_control_socket_holds(asker: Asker, title: str) -> None:
    case = CASES[title]
    size = 50_000 if title == "workers to avoid" else 500_000
    answer = asker.control.call(case.ask(asker, size))

    if isinstance(answer, Failure):
        assert answer.status != Status.NTE_INTERNAL_ERROR
        assert len(answer.cause) < 300
