"""KeyisoSignHashes: many hashes, one key, and the same signatures as one by one."""

import hashlib
import threading

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from keyiso import Key, ncrypt
from keyiso.client import binding
from keyiso.flags import NCRYPT_ALLOW_DECRYPT_FLAG
from keyiso.identifiers import (
    BCRYPT_PUBLIC_KEY_BLOB,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
)
from keyiso.limits import DIGESTS_PER_BATCH, MESSAGE_BYTES
from keyiso.status import Status
from tests.conformance.cases import (
    ALGORITHMS,
    ECDSA_P256,
    ED25519,
    RSA_2048,
    Algorithm,
    begin,
    make,
)
from tests.conformance.independent import (
    PublicKey,
    dword,
    is_ecdsa_signature,
    is_ed25519_signature,
    is_rsa_signature,
    parse_public_blob,
)
from tests.conformance.statuses import fails
from tests.long_rsa import long_rsa_numbers, pkcs8_of

pytestmark = pytest.mark.both_levels

Provider = ncrypt.NCryptProvHandle
Handle = ncrypt.NCryptKeyHandle


def digests(count: int) -> list[bytes]:
    """All different, so that each signature shows which one it is of."""
    return [hashlib.sha256(b"%d" % number).digest() for number in range(count)]


def sign(algorithm: Algorithm, key: Handle, hashed: list[bytes]) -> list[bytes]:
    return ncrypt.KeyisoSignHashes(key, algorithm.padding, hashed, algorithm.padding_flag)


def check(algorithm: Algorithm, key: Handle, hashed: list[bytes], signatures: list[bytes]) -> None:
    """There is one for each, in their order, as another implementation sees it."""
    public = parse_public_blob(ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB))
    assert len(signatures) == len(hashed)
    wrong = [
        number
        for number, (digest, signature) in enumerate(zip(hashed, signatures, strict=True))
        if not _is_signature(algorithm, public, digest, signature)
    ]
    assert wrong == []


def _is_signature(algorithm: Algorithm, public: PublicKey, digest: bytes, signature: bytes) -> bool:
    match algorithm.group:
        case "RSA":
            return is_rsa_signature(public, signature, digest, hashes.SHA256(), padding.PKCS1v15())
        case "ECDSA":
            return is_ecdsa_signature(public, signature, digest, hashes.SHA256())
    return is_ed25519_signature(public, signature, digest)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_many_hashes_are_signed_in_their_order(provider: Provider, algorithm: Algorithm) -> None:
    key, hashed = make(provider, algorithm), digests(100)

    check(algorithm, key, hashed, sign(algorithm, key, hashed))


@pytest.mark.parametrize(
    "count",
    [0, 1, 2, DIGESTS_PER_BATCH - 1, DIGESTS_PER_BATCH, DIGESTS_PER_BATCH + 1, 1000],
)
def test_any_number_of_hashes_is_signed(provider: Provider, count: int) -> None:
    key, hashed = make(provider), digests(count)

    check(ECDSA_P256, key, hashed, sign(ECDSA_P256, key, hashed))


def test_long_messages_share_a_batch_as_far_as_they_fit(provider: Provider) -> None:
    """Ed25519 is given messages: two of them may be more than a frame takes."""
    key = make(provider, ED25519)
    lengths = [MESSAGE_BYTES, 1, MESSAGE_BYTES // 2, MESSAGE_BYTES // 2, 0, 40_000, 40_000, 3]
    messages = [bytes([number]) * length for number, length in enumerate(lengths)]

    check(ED25519, key, messages, sign(ED25519, key, messages))


def test_signatures_that_take_longer_than_a_turn_are_all_made(provider: Provider) -> None:
    """The worker answers with those that it had time for, and is asked again."""
    pkcs8 = pkcs8_of(long_rsa_numbers(8192))
    key = ncrypt.NCryptImportKey(provider, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, None, pkcs8)
    hashed = digests(5)

    check(RSA_2048, key, hashed, sign(RSA_2048, key, hashed))


def test_threads_sign_many_at_the_same_time(provider: Provider) -> None:
    keys = [make(provider) for _ in range(4)]
    made: dict[int, list[bytes]] = {}

    def run(number: int) -> None:
        made[number] = sign(ECDSA_P256, keys[number], digests(200))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, key in enumerate(keys):
        check(ECDSA_P256, key, digests(200), made[number])


@pytest.mark.parametrize("at", [0, DIGESTS_PER_BATCH, 299])
def test_one_hash_that_cannot_be_signed_fails_all(provider: Provider, at: int) -> None:
    """And what is asked afterwards is answered as if nothing had been."""
    key, hashed = make(provider), digests(300)
    good = list(hashed)
    hashed[at] = b""

    with fails(Status.NTE_INVALID_PARAMETER):
        sign(ECDSA_P256, key, hashed)

    check(ECDSA_P256, key, good, sign(ECDSA_P256, key, good))
    ECDSA_P256.verify(key, ECDSA_P256.sign(key))


def test_usage_and_paddings_are_those_of_one_hash(provider: Provider) -> None:
    key = begin(provider)
    ncrypt.NCryptSetProperty(key, NCRYPT_KEY_USAGE_PROPERTY, dword(NCRYPT_ALLOW_DECRYPT_FLAG))
    with fails(Status.NTE_BAD_KEY_STATE):
        sign(ECDSA_P256, key, digests(1))
    ncrypt.NCryptFinalizeKey(key)

    with fails(Status.NTE_PERM):
        sign(ECDSA_P256, key, digests(3))
    with fails(Status.NTE_INVALID_PARAMETER):
        sign(RSA_2048, make(provider), digests(3))
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.KeyisoSignHashes(make(provider, ED25519), None, [b"m" * (MESSAGE_BYTES + 1)])


def test_what_is_no_list_of_hashes_is_refused(provider: Provider) -> None:
    key = make(provider)

    with fails(Status.RPC_X_NULL_REF_POINTER):
        ncrypt.KeyisoSignHashes(key, None, None)  # type: ignore[arg-type]
    with fails(Status.RPC_X_NULL_REF_POINTER):
        ncrypt.KeyisoSignHashes(key, None, [b"d" * 32, None])  # type: ignore[list-item]
    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.KeyisoSignHashes(provider, None, [])  # type: ignore[arg-type]


def test_workers_of_an_older_version_sign_one_by_one(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those whose welcome does not say that they take batches."""
    monkeypatch.setattr(binding, "BATCH_FEATURE", "of a later version")
    key, hashed = make(provider), digests(5)

    check(ECDSA_P256, key, hashed, sign(ECDSA_P256, key, hashed))


@pytest.mark.parametrize("scheme", ["PSS", "PKCS1", None])
def test_the_python_api_signs_many(provider: Provider, scheme: str | None) -> None:
    with Key.create(None, "RSA") as key:
        signatures = key.sign_digests(digests(20), padding=scheme)

        assert len(signatures) == 20
        for digest, signature in zip(digests(20), signatures, strict=True):
            key.verify_digest(signature, digest, padding=scheme)
        assert key.sign_digests([]) == []
        with fails(Status.NTE_INVALID_PARAMETER):
            key.sign_digests([*digests(3), b"d" * 20])
