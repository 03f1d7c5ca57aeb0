"""Signatures in CNG's formats, checked by code that knows nothing of keyiso's."""

import hashlib
from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from keyiso import limits
from keyiso.crypto.digests import HASH_NAMES, digest, hash_named
from keyiso.crypto.key_types import AsymmetricPrivateKey as PrivateKey
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.public_keys import import_public_blob
from keyiso.crypto.signatures import (
    NO_PADDING,
    Padding,
    ecdsa_from_der,
    sign_digest,
    signature_bytes,
    verify_digest,
)
from keyiso.errors import InvalidSignatureError, NCryptError
from keyiso.flags import BCRYPT_PAD_OAEP, BCRYPT_PAD_PKCS1, BCRYPT_PAD_PSS
from keyiso.status import Status
from tests.unit.samples import CURVES, ec_key, rsa_key

MESSAGE = b"the message that is signed"

HASHES: dict[str, Callable[[bytes], "hashlib._Hash"]] = {
    "SHA1": hashlib.sha1,
    "SHA256": hashlib.sha256,
    "SHA384": hashlib.sha384,
    "SHA512": hashlib.sha512,
    "SHA3-256": hashlib.sha3_256,
    "SHA3-384": hashlib.sha3_384,
    "SHA3-512": hashlib.sha3_512,
}

FIELD_BYTES = {"ECDSA_P256": 32, "ECDSA_P384": 48, "ECDSA_P521": 66}

ORDERS = {
    "ECDSA_P256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ECDSA_P384": int(
        "ffffffffffffffffffffffffffffffffffffffffffffffff"
        "c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
        16,
    ),
    "ECDSA_P521": int(
        "1" + 65 * "f" + "a51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16
    ),
}

SHA256_DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a SHA-256 hash in PKCS #1 (RFC 8017, section 9.2)."""

PKCS1 = Padding(BCRYPT_PAD_PKCS1, "SHA256")
RAW = Padding(BCRYPT_PAD_PKCS1)
PSS = Padding(BCRYPT_PAD_PSS, "SHA256", 32)


def der_of(signature: bytes) -> bytes:
    """r and s, side by side, as the DER that other software expects (X.690, RFC 3279)."""
    half = len(signature) // 2
    body = b"".join(
        b"\x02" + bytes([len(number)]) + number
        for number in (_der_integer(signature[:half]), _der_integer(signature[half:]))
    )
    return b"\x30" + (bytes([len(body)]) if len(body) < 128 else bytes([0x81, len(body)])) + body


def _der_integer(big_endian: bytes) -> bytes:
    shortest = big_endian.lstrip(b"\0") or b"\0"
    return b"\0" + shortest if shortest[0] & 0x80 else shortest


def status_of_signing(key: PrivateKey, hashed: bytes, pad: Padding) -> int:
    with pytest.raises(NCryptError) as caught:
        sign_digest(key, hashed, pad)
    return caught.value.status


def status_of_verifying(key: PublicKey, hashed: bytes, signature: bytes, pad: Padding) -> int:
    with pytest.raises(NCryptError) as caught:
        verify_digest(key, hashed, signature, pad)
    return caught.value.status


# --- hashes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HASH_NAMES)
def test_a_hash_is_the_one_of_its_name(name: str) -> None:
    assert digest(name, MESSAGE) == HASHES[name](MESSAGE).digest()


@pytest.mark.parametrize("name", ["", "sha256", "SHA-256", "MD5", "SHA512/256", "\ud800"])
def test_an_unknown_hash_is_not_supported(name: str) -> None:
    with pytest.raises(NCryptError, match="SHA256") as caught:
        hash_named(name)
    assert caught.value.status == Status.NTE_NOT_SUPPORTED


# --- ECDSA -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SHA256", "SHA384", "SHA512", "SHA3-256", "SHA3-512"])
@pytest.mark.parametrize("curve", CURVES)
def test_an_ecdsa_signature_is_right_for_others(curve: str, name: str) -> None:
    """Whatever hash meets whatever curve: longer ones are cut, shorter ones are small numbers."""
    key = ec_key(curve)
    signature = sign_digest(key, HASHES[name](MESSAGE).digest(), NO_PADDING)

    assert len(signature) == 2 * FIELD_BYTES[curve] == signature_bytes(key.public_key())
    key.public_key().verify(der_of(signature), MESSAGE, ec.ECDSA(hash_named(name)))


@pytest.mark.parametrize("curve", CURVES)
def test_numbers_of_every_length_are_taken_from_der(curve: str) -> None:
    """A short number comes up in one signature of 256, a very short one never by chance."""
    size, largest = FIELD_BYTES[curve], ORDERS[curve] - 1
    powers = [1 << bits for bits in range(largest.bit_length())]
    numbers = {1, largest, *powers, *(power - 1 for power in powers[1:])}

    for number in numbers:
        for r, s in ((number, largest), (largest, number), (number, number)):
            assert ecdsa_from_der(utils.encode_dss_signature(r, s), size) == (
                r.to_bytes(size, "big") + s.to_bytes(size, "big")
            )


@pytest.mark.parametrize("name", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("curve", CURVES)
def test_an_ecdsa_signature_of_others_is_right(curve: str, name: str) -> None:
    key = ec_key(curve)
    der = key.sign(MESSAGE, ec.ECDSA(hash_named(name)))
    size = FIELD_BYTES[curve]
    at = 3 if der[1] == 0x81 else 2
    r_size = der[at + 1]
    r = int.from_bytes(der[at + 2 : at + 2 + r_size], "big")
    s = int.from_bytes(der[at + 4 + r_size :], "big")

    verify_digest(
        key.public_key(),
        HASHES[name](MESSAGE).digest(),
        r.to_bytes(size, "big") + s.to_bytes(size, "big"),
        NO_PADDING,
    )


@pytest.mark.parametrize("length", range(1, limits.DIGEST_BYTES + 1))
@pytest.mark.parametrize("curve", CURVES)
def test_a_hash_of_any_length_can_be_signed(curve: str, length: int) -> None:
    key, hashed = ec_key(curve), b"\xff" * length
    signature = sign_digest(key, hashed, NO_PADDING)

    verify_digest(key.public_key(), hashed, signature, NO_PADDING)
    changed = b"\xfe" + hashed[1:]
    assert status_of_verifying(key.public_key(), changed, signature, NO_PADDING) == (
        Status.NTE_BAD_SIGNATURE
    )


@pytest.mark.parametrize(
    ("curve", "signed", "same"),
    [
        ("ECDSA_P256", bytes(range(1, 65)), bytes(range(1, 33))),
        ("ECDSA_P384", bytes(range(1, 65)), bytes(range(1, 49))),
        ("ECDSA_P256", b"\x05", bytes(31) + b"\x05"),
        ("ECDSA_P384", b"\x05" * 32, bytes(16) + b"\x05" * 32),
        ("ECDSA_P521", b"\x05" * 20, bytes(44) + b"\x05" * 20),
    ],
)
def test_a_hash_is_its_leftmost_bits_as_a_number(curve: str, signed: bytes, same: bytes) -> None:
    """FIPS 186-5, section 6.4.1."""
    key = ec_key(curve)

    verify_digest(key.public_key(), same, sign_digest(key, signed, NO_PADDING), NO_PADDING)


@pytest.mark.parametrize("length", [0, limits.DIGEST_BYTES + 1, 4096])
def test_a_hash_of_an_impossible_length_is_refused(length: int) -> None:
    key = ec_key()

    assert status_of_signing(key, b"d" * length, NO_PADDING) == Status.NTE_INVALID_PARAMETER
    assert status_of_verifying(key.public_key(), b"d" * length, b"s" * 64, NO_PADDING) == (
        Status.NTE_INVALID_PARAMETER
    )


@pytest.mark.parametrize("pad", [PKCS1, RAW, PSS, Padding(0, "SHA256"), Padding(0, "", 1)])
def test_ecdsa_takes_no_padding(pad: Padding) -> None:
    key = ec_key()

    assert status_of_signing(key, b"d" * 32, pad) == Status.NTE_INVALID_PARAMETER
    assert status_of_verifying(key.public_key(), b"d" * 32, b"s" * 64, pad) == (
        Status.NTE_INVALID_PARAMETER
    )


@pytest.mark.parametrize("curve", CURVES)
def test_numbers_that_are_no_signature_are_a_bad_signature(curve: str) -> None:
    key, size, order = ec_key(curve), FIELD_BYTES[curve], ORDERS[curve]
    good = sign_digest(key, b"d" * 32, NO_PADDING)
    r, s = good[:size], good[size:]
    zero, too_large = bytes(size), order.to_bytes(size, "big")

    for bad in (
        zero + s,
        r + zero,
        zero + zero,
        too_large + s,
        r + too_large,
        b"\xff" * (2 * size),
        s + r,
    ):
        assert status_of_verifying(key.public_key(), b"d" * 32, bad, NO_PADDING) == (
            Status.NTE_BAD_SIGNATURE
        )


# --- RSA ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HASHES)
def test_a_pkcs1_signature_is_right_for_others(name: str) -> None:
    key, hashed = rsa_key(), HASHES[name](MESSAGE).digest()
    signature = sign_digest(key, hashed, Padding(BCRYPT_PAD_PKCS1, name))

    assert len(signature) == 256
    key.public_key().verify(signature, MESSAGE, padding.PKCS1v15(), hash_named(name))
    verify_digest(key.public_key(), hashed, signature, Padding(BCRYPT_PAD_PKCS1, name))


@pytest.mark.parametrize("salt", [0, 1, 20, 32, 64, 190])
@pytest.mark.parametrize("name", ["SHA1", "SHA256", "SHA512", "SHA3-384"])
def test_a_pss_signature_is_right_for_others(name: str, salt: int) -> None:
    key, hashed = rsa_key(), HASHES[name](MESSAGE).digest()
    algorithm = hash_named(name)
    pad = Padding(BCRYPT_PAD_PSS, name, salt)
    signature = sign_digest(key, hashed, pad)

    scheme = padding.PSS(padding.MGF1(algorithm), salt)
    key.public_key().verify(signature, MESSAGE, scheme, algorithm)
    verify_digest(key.public_key(), hashed, signature, pad)


def test_a_raw_signature_is_over_exactly_what_was_given() -> None:
    """TLS 1.1 signs two hashes without a DigestInfo; only the arithmetic is checked here."""
    key, hashes_of_tls = rsa_key(), b"h" * 36
    signature = sign_digest(key, hashes_of_tls, RAW)

    numbers = key.public_key().public_numbers()
    message = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(256, "big")
    assert message == b"\0\1" + b"\xff" * (256 - 3 - 36) + b"\0" + hashes_of_tls
    verify_digest(key.public_key(), hashes_of_tls, signature, RAW)


def test_a_digest_info_of_the_caller_makes_the_same_signature() -> None:
    key, hashed = rsa_key(), hashlib.sha256(MESSAGE).digest()

    assert sign_digest(key, SHA256_DIGEST_INFO + hashed, RAW) == sign_digest(key, hashed, PKCS1)
    verify_digest(
        key.public_key(), SHA256_DIGEST_INFO + hashed, sign_digest(key, hashed, PKCS1), RAW
    )


@pytest.mark.parametrize("length", [1, 256 - 11])
def test_the_shortest_and_the_longest_raw_message(length: int) -> None:
    key = rsa_key()

    verify_digest(key.public_key(), b"m" * length, sign_digest(key, b"m" * length, RAW), RAW)


RSA_MISFITS = {
    "no padding": (b"d" * 32, NO_PADDING),
    "a padding for encryption": (b"d" * 32, Padding(BCRYPT_PAD_OAEP, "SHA256")),
    "two paddings": (b"d" * 32, Padding(BCRYPT_PAD_PKCS1 | BCRYPT_PAD_PSS, "SHA256", 32)),
    "a negative padding": (b"d" * 32, Padding(-2, "SHA256")),
    "a hash that is too short": (b"d" * 31, PKCS1),
    "a hash that is too long": (b"d" * 33, PKCS1),
    "no hash": (b"", PKCS1),
    "a hash of another algorithm": (b"d" * 20, PSS),
    "nothing raw": (b"", RAW),
    "too much raw": (b"d" * (256 - 10), RAW),
    "a negative salt": (b"d" * 32, Padding(BCRYPT_PAD_PSS, "SHA256", -1)),
    "a salt above the limit": (b"d" * 32, Padding(BCRYPT_PAD_PSS, "SHA256", limits.SALT_BYTES + 1)),
}


@pytest.mark.parametrize(("hashed", "pad"), RSA_MISFITS.values(), ids=RSA_MISFITS)
def test_what_does_not_fit_is_an_invalid_parameter(hashed: bytes, pad: Padding) -> None:
    key = rsa_key()

    assert status_of_signing(key, hashed, pad) == Status.NTE_INVALID_PARAMETER
    assert status_of_verifying(key.public_key(), hashed, b"s" * 256, pad) == (
        Status.NTE_INVALID_PARAMETER
    )


@pytest.mark.parametrize("salt", [256 - 32 - 2 + 1, limits.SALT_BYTES, 2**31])
def test_a_salt_that_the_modulus_has_no_room_for(salt: int) -> None:
    pad = Padding(BCRYPT_PAD_PSS, "SHA256", salt)

    assert status_of_signing(rsa_key(), b"d" * 32, pad) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("scheme", [BCRYPT_PAD_PKCS1, BCRYPT_PAD_PSS])
def test_an_unknown_hash_in_a_padding_does_not_fit(scheme: int) -> None:
    pad = Padding(scheme, "MD5", 16)

    assert status_of_signing(rsa_key(), b"d" * 16, pad) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("pad", [PKCS1, PSS, RAW], ids=["PKCS1", "PSS", "raw"])
def test_numbers_that_are_no_rsa_signature_are_a_bad_signature(pad: Padding) -> None:
    key = rsa_key()
    good = sign_digest(key, b"d" * 32, pad)
    modulus = key.public_key().public_numbers().n.to_bytes(256, "big")
    by_another = sign_digest(rsa.generate_private_key(65537, 2048), b"d" * 32, pad)

    for bad in (bytes(256), bytes(255) + b"\1", modulus, b"\xff" * 256, by_another, good[::-1]):
        assert status_of_verifying(key.public_key(), b"d" * 32, bad, pad) == (
            Status.NTE_BAD_SIGNATURE
        )


def test_paddings_are_not_taken_for_each_other() -> None:
    key = rsa_key()
    pads = [
        PKCS1,
        PSS,
        RAW,
        Padding(BCRYPT_PAD_PSS, "SHA256", 20),
        Padding(BCRYPT_PAD_PSS, "SHA3-256", 32),
    ]
    for pad in pads:
        signature = sign_digest(key, b"d" * 32, pad)
        for other in pads:
            if other != pad:
                assert status_of_verifying(key.public_key(), b"d" * 32, signature, other) == (
                    Status.NTE_BAD_SIGNATURE
                )


# --- every key ---------------------------------------------------------------------------------

EVERY_KEY: list[tuple[PrivateKey, Padding]] = [
    *((ec_key(curve), NO_PADDING) for curve in CURVES),
    (rsa_key(), PKCS1),
    (rsa_key(), PSS),
    (rsa_key(), RAW),
]
EVERY_ID = [*CURVES, "PKCS1", "PSS", "raw"]


@pytest.mark.parametrize(("key", "pad"), EVERY_KEY, ids=EVERY_ID)
def test_a_signature_over_another_hash_is_a_bad_signature(key: PrivateKey, pad: Padding) -> None:
    signature = sign_digest(key, b"d" * 32, pad)

    with pytest.raises(InvalidSignatureError):
        verify_digest(key.public_key(), b"e" + b"d" * 31, signature, pad)


@pytest.mark.parametrize(("key", "pad"), EVERY_KEY, ids=EVERY_ID)
def test_a_byte_that_was_changed_anywhere_is_a_bad_signature(key: PrivateKey, pad: Padding) -> None:
    signature = sign_digest(key, b"d" * 32, pad)
    for at in range(len(signature)):
        changed = bytearray(signature)
        changed[at] ^= 0x10
        assert status_of_verifying(key.public_key(), b"d" * 32, bytes(changed), pad) == (
            Status.NTE_BAD_SIGNATURE
        )


@pytest.mark.parametrize(("key", "pad"), EVERY_KEY, ids=EVERY_ID)
def test_a_signature_of_another_length_is_an_invalid_parameter(
    key: PrivateKey, pad: Padding
) -> None:
    good = sign_digest(key, b"d" * 32, pad)

    for bad in (b"", good[:-1], good + b"\0", b"\0" + good, good + good):
        assert status_of_verifying(key.public_key(), b"d" * 32, bad, pad) == (
            Status.NTE_INVALID_PARAMETER
        )


def test_a_pss_hash_that_the_modulus_has_no_room_for() -> None:
    """Any application can import so short a public key, and ask for any hash."""
    blob = b"RSA1" + b"".join(number.to_bytes(4, "little") for number in (512, 3, 64, 0, 0))
    short, _ = import_public_blob(blob + b"\1\0\1" + b"\xff" * 64)

    assert status_of_verifying(
        short, b"d" * 64, b"s" * 64, Padding(BCRYPT_PAD_PSS, "SHA512", 64)
    ) in (
        Status.NTE_INVALID_PARAMETER,
        Status.NTE_BAD_SIGNATURE,
    )


def test_the_check_of_this_file_can_fail() -> None:
    """The DER made here is read by the library, and a wrong one is refused."""
    key = ec_key()
    signature = sign_digest(key, hashlib.sha256(MESSAGE).digest(), NO_PADDING)

    with pytest.raises(InvalidSignature):
        key.public_key().verify(der_of(signature), MESSAGE + b"!", ec.ECDSA(hashes.SHA256()))
