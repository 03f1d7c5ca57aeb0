"""Imports: sealed to one worker, under the terms that were asked for and no others."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st

from keyiso import limits
from keyiso.crypto.import_seal import open_import, seal_import
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.wire.key_terms import KeyTerms
from tests.unit.samples import pkcs8, structs

WORKER = X25519PrivateKey.generate()
WORKER_KEY = WORKER.public_key().public_bytes_raw()

TERMS = KeyTerms(
    operation_id=b"o" * 16,
    provider="Microsoft Software Key Storage Provider",
    scope="user",
    owner=1000,
    name="web".encode("utf-16-le"),
    lifetime="persisted",
    algorithm="",
    bits=0,
    usage=2,
    export_policy=0,
    overwrite=False,
)

OTHER_TERMS: dict[str, Any] = {
    "operation_id": b"O" * 16,
    "provider": "Microsoft Platform Crypto Provider",
    "scope": "machine",
    "owner": 0,
    "name": "Web".encode("utf-16-le"),
    "lifetime": "ephemeral",
    "algorithm": "RSA",
    "bits": 2048,
    "usage": 0xFFFFFF,
    "export_policy": 2,
    "overwrite": True,
    "level": "vbs",
}


def status_of_opening(
    sealed: bytes, key: X25519PrivateKey = WORKER, terms: msgspec.Struct = TERMS
) -> int:
    with pytest.raises(NCryptError) as caught:
        open_import(sealed, key, terms)
    return caught.value.status


@given(key=st.binary(max_size=3000), terms=structs(KeyTerms))
@settings(max_examples=50)
def test_what_was_sealed_is_what_is_opened(key: bytes, terms: KeyTerms) -> None:
    assert open_import(seal_import(key, WORKER_KEY, terms), WORKER, terms) == key


def test_the_seal_is_hpke_of_rfc_9180() -> None:
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = b"keyiso import 1" + msgspec.msgpack.encode(TERMS)
    sealed = seal_import(pkcs8(), WORKER_KEY, TERMS)

    assert sealed[0] == 1
    assert len(sealed) == 1 + 32 + len(pkcs8()) + 16
    assert suite.decrypt(sealed[1:], WORKER, info) == pkcs8()


@pytest.mark.parametrize("field", OTHER_TERMS)
def test_nobody_on_the_way_can_change_a_term(field: str) -> None:
    sealed = seal_import(pkcs8(), WORKER_KEY, TERMS)
    changed = msgspec.structs.replace(TERMS, **{field: OTHER_TERMS[field]})

    assert status_of_opening(sealed, terms=changed) == Status.NTE_BAD_DATA


def test_every_term_is_tried() -> None:
    assert set(OTHER_TERMS) == set(KeyTerms.__struct_fields__)


def test_another_worker_opens_nothing() -> None:
    sealed = seal_import(pkcs8(), WORKER_KEY, TERMS)

    assert status_of_opening(sealed, X25519PrivateKey.generate()) == Status.NTE_BAD_DATA


def test_a_byte_that_was_changed_anywhere_is_noticed() -> None:
    sealed = seal_import(pkcs8(), WORKER_KEY, TERMS)
    statuses = []
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        statuses.append(status_of_opening(bytes(changed)))

    assert statuses == [Status.NTE_BAD_VER, *[Status.NTE_BAD_DATA] * (len(sealed) - 1)]


def test_what_is_cut_or_extended_is_noticed() -> None:
    sealed = seal_import(pkcs8(), WORKER_KEY, TERMS)
    statuses = {status_of_opening(sealed[:size]) for size in range(1, len(sealed))}

    assert statuses == {Status.NTE_BAD_DATA}
    assert status_of_opening(sealed + b"\0") == Status.NTE_BAD_DATA
    assert status_of_opening(b"") == Status.NTE_BAD_VER


def test_a_key_that_is_sealed_twice_looks_different() -> None:
    assert seal_import(pkcs8(), WORKER_KEY, TERMS) != seal_import(pkcs8(), WORKER_KEY, TERMS)


def test_a_key_above_the_limit_is_not_sealed() -> None:
    longest = b"k" * limits.PRIVATE_KEY_BYTES
    assert open_import(seal_import(longest, WORKER_KEY, TERMS), WORKER, TERMS) == longest

    with pytest.raises(NCryptError, match="PRIVATE_KEY_BYTES is 16384") as caught:
        seal_import(longest + b"k", WORKER_KEY, TERMS)
    assert caught.value.status == Status.KEYISO_E_LIMIT


def test_a_key_above_the_limit_is_not_opened() -> None:
    """Not every client seals with the library."""
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = b"keyiso import 1" + msgspec.msgpack.encode(TERMS)
    longer = b"k" * (limits.PRIVATE_KEY_BYTES + 1)
    sealed = b"\1" + suite.encrypt(longer, WORKER.public_key(), info)

    assert status_of_opening(sealed) in (Status.KEYISO_E_LIMIT, Status.NTE_BAD_DATA)


@pytest.mark.parametrize("worker_key", [b"", b"k" * 31, b"k" * 33, bytes(32)])
def test_what_is_no_import_key_is_refused(worker_key: bytes) -> None:
    """It comes from another process."""
    with pytest.raises(NCryptError):
        seal_import(pkcs8(), worker_key, TERMS)
