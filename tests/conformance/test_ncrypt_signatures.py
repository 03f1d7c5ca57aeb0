"""NCryptSignHash and NCryptVerifySignature, checked by another implementation."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from keyiso import ncrypt
from keyiso.crypto.key_header import Level
from keyiso.flags import (
    NCRYPT_ALLOW_DECRYPT_FLAG,
    NCRYPT_ALLOW_KEY_AGREEMENT_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
    NCRYPT_PAD_PSS_FLAG,
    NCRYPT_SILENT_FLAG,
)
from keyiso.identifiers import BCRYPT_PUBLIC_KEY_BLOB, NCRYPT_KEY_USAGE_PROPERTY
from keyiso.ncrypt import BCRYPT_PKCS1_PADDING_INFO, BCRYPT_PSS_PADDING_INFO
from keyiso.status import Status
from tests.conformance.cases import (
    ALGORITHMS,
    ECDSA,
    ECDSA_P256,
    ED25519,
    RSA,
    RSA_2048,
    SHA256_DIGEST,
    Algorithm,
    Kind,
    begin,
    make,
)
from tests.conformance.independent import (
    HASHES,
    PublicKey,
    digest,
    dword,
    is_ecdsa_signature,
    is_ed25519_signature,
    is_rsa_signature,
    parse_public_blob,
)
from tests.conformance.statuses import fails

pytestmark = pytest.mark.both_levels

Provider = ncrypt.NCryptProvHandle
Key = ncrypt.NCryptKeyHandle

PKCS1, PSS = NCRYPT_PAD_PKCS1_FLAG, NCRYPT_PAD_PSS_FLAG


@pytest.fixture(scope="module")
def keys(provider: Provider) -> dict[Algorithm, Key]:
    """A key of each algorithm, for tests that only use it."""
    return {algorithm: make(provider, algorithm) for algorithm in ALGORITHMS}


def public_key(key: Key) -> PublicKey:
    return parse_public_blob(ncrypt.NCryptExportKey(key, None, BCRYPT_PUBLIC_KEY_BLOB))


# --- right signatures --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", Kind, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_another_implementation_agrees(
    provider: Provider, algorithm: Algorithm, kind: Kind, name: str
) -> None:
    key = make(provider, algorithm, kind.key_name(name), kind.flag)

    signature = algorithm.sign(key)

    assert len(signature) == algorithm.signature_bytes
    assert is_signature(algorithm, public_key(key), signature)


def is_signature(algorithm: Algorithm, public: PublicKey, signature: bytes) -> bool:
    """`cryptography` takes it for one over SHA256_DIGEST."""
    match algorithm.group:
        case "RSA":
            return is_rsa_signature(
                public, signature, SHA256_DIGEST, hashes.SHA256(), padding.PKCS1v15()
            )
        case "ECDSA":
            return is_ecdsa_signature(public, signature, SHA256_DIGEST, hashes.SHA256())
    return is_ed25519_signature(public, signature, SHA256_DIGEST)


@pytest.mark.parametrize("length", [0, 1, 64, 65, 10_000, 60 * 1024])
def test_ed25519_signs_messages(keys: dict[Algorithm, Key], length: int) -> None:
    """It hashes twice over the message itself, which therefore goes to the worker whole."""
    key, message = keys[ED25519], b"m" * length

    signature = ncrypt.NCryptSignHash(key, None, message)

    assert is_ed25519_signature(public_key(key), signature, message)
    ncrypt.NCryptVerifySignature(key, None, message, signature)
    with fails(Status.NTE_BAD_SIGNATURE):
        ncrypt.NCryptVerifySignature(key, None, message[:-1] + b"!", signature)


def test_a_message_that_is_too_long_names_the_limit(keys: dict[Algorithm, Key]) -> None:
    with fails(Status.NTE_INVALID_PARAMETER) as caught:
        ncrypt.NCryptSignHash(keys[ED25519], None, b"m" * (60 * 1024 + 1))

    assert "MESSAGE_BYTES" in caught.value.cause


@pytest.mark.parametrize("algorithm", ["ECDH_P256", "AES"])
def test_a_key_that_cannot_sign(provider: Provider, algorithm: str) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, algorithm)
    ncrypt.NCryptFinalizeKey(key)

    with fails(Status.NTE_BAD_ALGID):
        ncrypt.NCryptSignHash(key, None, SHA256_DIGEST)
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptVerifySignature(key, None, SHA256_DIGEST, b"x" * 64)


@pytest.mark.parametrize("hash_name", ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("algorithm", ECDSA, ids=str)
def test_ecdsa_signs_hashes_of_any_usual_length(
    keys: dict[Algorithm, Key], algorithm: Algorithm, hash_name: str
) -> None:
    """Shorter than the curve they are numbers as they are; of longer ones the left part counts."""
    hashed = hashlib.new(hash_name, b"message").digest()
    by_name: dict[str, hashes.HashAlgorithm] = {**HASHES, "SHA224": hashes.SHA224()}

    signature = ncrypt.NCryptSignHash(keys[algorithm], None, hashed)

    assert is_ecdsa_signature(public_key(keys[algorithm]), signature, hashed, by_name[hash_name])
    ncrypt.NCryptVerifySignature(keys[algorithm], None, hashed, signature)


@pytest.mark.parametrize("hash_name", HASHES)
@pytest.mark.parametrize("algorithm", RSA, ids=str)
def test_rsa_pkcs1(keys: dict[Algorithm, Key], algorithm: Algorithm, hash_name: str) -> None:
    hashed, info = digest(hash_name), BCRYPT_PKCS1_PADDING_INFO(hash_name)

    signature = ncrypt.NCryptSignHash(keys[algorithm], info, hashed, PKCS1)

    assert is_rsa_signature(
        public_key(keys[algorithm]), signature, hashed, HASHES[hash_name], padding.PKCS1v15()
    )
    ncrypt.NCryptVerifySignature(keys[algorithm], info, hashed, signature, PKCS1)


@pytest.mark.parametrize("salt", ["none", "hash", "longest"])
@pytest.mark.parametrize("hash_name", HASHES)
def test_rsa_pss(keys: dict[Algorithm, Key], hash_name: str, salt: str) -> None:
    """Exactly the salt that was asked for, and MGF1 with the same hash."""
    hashed, algorithm = digest(hash_name), HASHES[hash_name]
    longest = 256 - 2 - algorithm.digest_size
    length = {"none": 0, "hash": algorithm.digest_size, "longest": longest}[salt]
    info = BCRYPT_PSS_PADDING_INFO(hash_name, length)

    signature = ncrypt.NCryptSignHash(keys[RSA_2048], info, hashed, PSS)

    scheme = padding.PSS(padding.MGF1(algorithm), length)
    assert is_rsa_signature(public_key(keys[RSA_2048]), signature, hashed, algorithm, scheme)
    ncrypt.NCryptVerifySignature(keys[RSA_2048], info, hashed, signature, PSS)
    other = BCRYPT_PSS_PADDING_INFO(hash_name, length + 1)
    with fails(Status.NTE_BAD_SIGNATURE):
        ncrypt.NCryptVerifySignature(keys[RSA_2048], other, hashed, signature, PSS)


@pytest.mark.parametrize("length", [1, 51, 245])
def test_raw_pkcs1_pads_what_the_caller_made(keys: dict[Algorithm, Key], length: int) -> None:
    """Without an algorithm name the caller brings the whole DigestInfo."""
    key, info = keys[RSA_2048], BCRYPT_PKCS1_PADDING_INFO()
    block = bytes(range(1, 1 + length))

    signature = ncrypt.NCryptSignHash(key, info, block, PKCS1)

    public = public_key(key)
    assert isinstance(public, rsa.RSAPublicKey)
    numbers = public.public_numbers()
    opened = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(256, "big")
    assert opened == b"\0\1" + b"\xff" * (256 - 3 - length) + b"\0" + block
    ncrypt.NCryptVerifySignature(key, info, block, signature, PKCS1)
    with fails(Status.NTE_BAD_SIGNATURE):
        ncrypt.NCryptVerifySignature(key, info, block[:-1] + b"\0", signature, PKCS1)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_silent_changes_nothing(keys: dict[Algorithm, Key], algorithm: Algorithm) -> None:
    key, flags = keys[algorithm], algorithm.padding_flag | NCRYPT_SILENT_FLAG

    signature = ncrypt.NCryptSignHash(key, algorithm.padding, SHA256_DIGEST, flags)

    ncrypt.NCryptVerifySignature(key, algorithm.padding, SHA256_DIGEST, signature, flags)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_the_size_probe_and_the_buffer(keys: dict[Algorithm, Key], algorithm: Algorithm) -> None:
    def sign(size: int) -> bytes:
        return ncrypt.NCryptSignHash(
            keys[algorithm],
            algorithm.padding,
            SHA256_DIGEST,
            algorithm.padding_flag,
            cbSignature=size,
        )

    size = ncrypt.NCryptSignHash(
        keys[algorithm],
        algorithm.padding,
        SHA256_DIGEST,
        algorithm.padding_flag,
        cbSignature=None,
    )

    assert size == algorithm.signature_bytes
    for large_enough in (size, size + 100):
        algorithm.verify(keys[algorithm], sign(large_enough))
    for too_small in (size - 1, 1, 0):
        with fails(Status.NTE_BUFFER_TOO_SMALL):
            sign(too_small)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_public_key_verifies(
    provider: Provider, keys: dict[Algorithm, Key], algorithm: Algorithm
) -> None:
    """An imported public blob is a key handle that can do just this."""
    blob = ncrypt.NCryptExportKey(keys[algorithm], None, BCRYPT_PUBLIC_KEY_BLOB)
    public = ncrypt.NCryptImportKey(provider, None, BCRYPT_PUBLIC_KEY_BLOB, None, blob)

    algorithm.verify(public, algorithm.sign(keys[algorithm]))

    with fails(Status.NTE_NOT_SUPPORTED):
        algorithm.sign(public)


# --- wrong signatures --------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 31, -1])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_changed_signature_is_bad(
    keys: dict[Algorithm, Key], algorithm: Algorithm, position: int
) -> None:
    changed = bytearray(algorithm.sign(keys[algorithm]))
    changed[position] ^= 1

    with fails(Status.NTE_BAD_SIGNATURE):
        algorithm.verify(keys[algorithm], bytes(changed))


@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_numbers_that_no_signature_has_are_bad(
    keys: dict[Algorithm, Key], algorithm: Algorithm, filling: bytes
) -> None:
    with fails(Status.NTE_BAD_SIGNATURE):
        algorithm.verify(keys[algorithm], filling * algorithm.signature_bytes)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_a_signature_over_another_hash_is_bad(
    keys: dict[Algorithm, Key], algorithm: Algorithm
) -> None:
    signature = algorithm.sign(keys[algorithm])

    with fails(Status.NTE_BAD_SIGNATURE):
        ncrypt.NCryptVerifySignature(
            keys[algorithm],
            algorithm.padding,
            digest("SHA256", b"another message"),
            signature,
            algorithm.padding_flag,
        )


@pytest.mark.parametrize("algorithm", [RSA_2048, ECDSA_P256], ids=str)
def test_a_signature_of_another_key_is_bad(
    provider: Provider, keys: dict[Algorithm, Key], algorithm: Algorithm
) -> None:
    with fails(Status.NTE_BAD_SIGNATURE):
        algorithm.verify(keys[algorithm], algorithm.sign(make(provider, algorithm)))


def test_one_rsa_padding_is_not_the_other(keys: dict[Algorithm, Key]) -> None:
    key = keys[RSA_2048]
    pkcs1, pss = BCRYPT_PKCS1_PADDING_INFO("SHA256"), BCRYPT_PSS_PADDING_INFO("SHA256", 32)
    signature = ncrypt.NCryptSignHash(key, pkcs1, SHA256_DIGEST, PKCS1)

    with fails(Status.NTE_BAD_SIGNATURE):
        ncrypt.NCryptVerifySignature(key, pss, SHA256_DIGEST, signature, PSS)


# --- parameters that do not fit ----------------------------------------------------------------

UNFIT_RSA = {
    "flags 0": (None, SHA256_DIGEST, 0),
    "flags 0 with an info": (BCRYPT_PKCS1_PADDING_INFO("SHA256"), SHA256_DIGEST, 0),
    "no info": (None, SHA256_DIGEST, PKCS1),
    "info of the other padding": (BCRYPT_PSS_PADDING_INFO("SHA256", 32), SHA256_DIGEST, PKCS1),
    "two paddings": (BCRYPT_PKCS1_PADDING_INFO("SHA256"), SHA256_DIGEST, PKCS1 | PSS),
    "hash too short": (BCRYPT_PKCS1_PADDING_INFO("SHA256"), SHA256_DIGEST[:4], PKCS1),
    "hash too long": (BCRYPT_PKCS1_PADDING_INFO("SHA256"), SHA256_DIGEST + b"x", PKCS1),
    "hash empty": (BCRYPT_PKCS1_PADDING_INFO("SHA256"), b"", PKCS1),
    "hash of another algorithm": (BCRYPT_PKCS1_PADDING_INFO("SHA512"), SHA256_DIGEST, PKCS1),
    "hash algorithm MD5": (BCRYPT_PKCS1_PADDING_INFO("MD5"), SHA256_DIGEST, PKCS1),
    "hash algorithm unknown": (BCRYPT_PSS_PADDING_INFO("no such", 32), SHA256_DIGEST, PSS),
    "PSS hash too short": (BCRYPT_PSS_PADDING_INFO("SHA256", 32), SHA256_DIGEST[:4], PSS),
    "DigestInfo empty": (BCRYPT_PKCS1_PADDING_INFO(), b"", PKCS1),
    "DigestInfo too long": (BCRYPT_PKCS1_PADDING_INFO(), b"x" * 246, PKCS1),
    "longer than any frame": (BCRYPT_PKCS1_PADDING_INFO(), b"x" * 70_000, PKCS1),
    "PSS without an algorithm": (
        BCRYPT_PSS_PADDING_INFO(None, 32),  # type: ignore[arg-type]
        SHA256_DIGEST,
        PSS,
    ),
}
UNFIT_ECDSA = {
    "padding flag": (None, SHA256_DIGEST, PKCS1),
    "padding info": (BCRYPT_PKCS1_PADDING_INFO("SHA256"), SHA256_DIGEST, 0),
    "padding": (BCRYPT_PKCS1_PADDING_INFO("SHA256"), SHA256_DIGEST, PKCS1),
    "PSS padding": (BCRYPT_PSS_PADDING_INFO("SHA256", 32), SHA256_DIGEST, PSS),
    "hash empty": (None, b"", 0),
    "hash of 65 bytes": (None, b"x" * 65, 0),
    "longer than any frame": (None, b"x" * 70_000, 0),
}
UNFIT_ED25519 = {
    title: UNFIT_ECDSA[title] for title in ("padding flag", "padding info", "longer than any frame")
}
UNFIT = [
    pytest.param(algorithm, *case, id=f"{algorithm} {title}")
    for algorithm, cases in (
        (RSA_2048, UNFIT_RSA),
        (ECDSA_P256, UNFIT_ECDSA),
        (ED25519, UNFIT_ED25519),
    )
    for title, case in cases.items()
]


@pytest.mark.parametrize(("algorithm", "info", "hashed", "flags"), UNFIT)
def test_sign_refuses_what_does_not_fit(
    keys: dict[Algorithm, Key],
    algorithm: Algorithm,
    info: ncrypt.PaddingInfo,
    hashed: bytes,
    flags: int,
) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptSignHash(keys[algorithm], info, hashed, flags)


@pytest.mark.parametrize(("algorithm", "info", "hashed", "flags"), UNFIT)
def test_verify_refuses_what_does_not_fit(
    keys: dict[Algorithm, Key],
    algorithm: Algorithm,
    info: ncrypt.PaddingInfo,
    hashed: bytes,
    flags: int,
) -> None:
    signature = algorithm.sign(keys[algorithm])

    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptVerifySignature(keys[algorithm], info, hashed, signature, flags)


@pytest.mark.parametrize("salt", [-1, 223, 2048, 2049, 0xFFFFFFFF])
def test_a_salt_that_the_modulus_has_no_room_for(keys: dict[Algorithm, Key], salt: int) -> None:
    info = BCRYPT_PSS_PADDING_INFO("SHA256", salt)

    with fails(Status.NTE_INVALID_PARAMETER):
        ncrypt.NCryptSignHash(keys[RSA_2048], info, SHA256_DIGEST, PSS)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_verify_refuses_a_signature_of_another_length(
    keys: dict[Algorithm, Key], algorithm: Algorithm
) -> None:
    signature = algorithm.sign(keys[algorithm])

    for wrong in (b"", signature[:4], signature[:-1], signature + b"\0"):
        with fails(Status.NTE_INVALID_PARAMETER):
            algorithm.verify(keys[algorithm], wrong)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=str)
def test_verify_needs_a_finalized_key(provider: Provider, algorithm: Algorithm) -> None:
    with fails(Status.NTE_BAD_KEY_STATE):
        algorithm.verify(begin(provider, algorithm), b"x" * algorithm.signature_bytes)


# --- usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [0, NCRYPT_ALLOW_DECRYPT_FLAG, NCRYPT_ALLOW_DECRYPT_FLAG | NCRYPT_ALLOW_KEY_AGREEMENT_FLAG],
)
@pytest.mark.parametrize("kind", Kind, ids=str)
@pytest.mark.parametrize("algorithm", [RSA_2048, ECDSA_P256], ids=str)
def test_a_key_that_is_not_for_signing_does_not_sign(
    provider: Provider, algorithm: Algorithm, kind: Kind, usage: int, name: str
) -> None:
    key = begin(provider, algorithm, kind.key_name(name), kind.flag)
    ncrypt.NCryptSetProperty(key, NCRYPT_KEY_USAGE_PROPERTY, dword(usage))
    ncrypt.NCryptFinalizeKey(key)

    with fails(Status.NTE_PERM):
        algorithm.sign(key)

    if kind is not Kind.EPHEMERAL:
        with fails(Status.NTE_PERM):
            algorithm.sign(ncrypt.NCryptOpenKey(provider, name, 0, kind.flag))


def test_usage_is_the_workers_to_enforce(provider: Provider, level: Level) -> None:
    """Not the library's, which an attacker leaves out: the refusal comes from the key's process."""
    key = begin(provider)
    ncrypt.NCryptSetProperty(key, NCRYPT_KEY_USAGE_PROPERTY, dword(NCRYPT_ALLOW_DECRYPT_FLAG))
    ncrypt.NCryptFinalizeKey(key)

    with fails(Status.NTE_PERM) as caught:
        ECDSA_P256.sign(key)

    assert caught.value.chain[-1].service.startswith(f"{level}-")
