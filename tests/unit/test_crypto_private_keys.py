"""Private keys: the algorithms of the table, and what is let in from outside."""

from collections.abc import Callable
from dataclasses import astuple
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keyiso.crypto.algorithms import ALGORITHMS, algorithm_named, check_length
from keyiso.crypto.key_types import AsymmetricPrivateKey as PrivateKey
from keyiso.crypto.key_types import bits_of
from keyiso.crypto.private_keys import (
    generate_private_key,
    imported_private_key,
    imported_symmetric_key,
    own_private_key,
    private_key_bytes,
    public_part,
)
from keyiso.crypto.public_keys import public_key_der
from keyiso.errors import NCryptError
from keyiso.flags import (
    NCRYPT_ALLOW_ALL_USAGES,
    NCRYPT_ALLOW_KEY_AGREEMENT_FLAG,
    NCRYPT_ALLOW_SIGNING_FLAG,
)
from keyiso.status import Status
from tests.unit.samples import CURVES, ec_key, pkcs8, rsa_key


def status_of(action: Callable[[], object]) -> int:
    with pytest.raises(NCryptError) as caught:
        action()
    return caught.value.status


def in_pkcs8(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return data


# --- the table ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_is_found_by_its_cng_identifier(name: str) -> None:
    algorithm = algorithm_named(name)

    assert algorithm.name == name
    assert algorithm.lengths.default in algorithm.lengths
    check_length(algorithm, algorithm.lengths.default)


@pytest.mark.parametrize("name", ["", "rsa", "ECDSA", "ECDSA_P224", "aes", "RSA\0", [], None])
def test_another_algorithm_is_not_supported(name: str) -> None:
    assert status_of(lambda: algorithm_named(name)) == Status.NTE_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("RSA", 0),
        ("RSA", -2048),
        ("RSA", 1016),
        ("RSA", 2047),
        ("RSA", 2049),
        ("RSA", 16392),
        ("RSA", 2**64),
        ("ECDSA_P256", 255),
        ("ECDSA_P256", 384),
        ("ECDSA_P521", 512),
        ("ECDSA_P521", 528),
    ],
)
def test_another_length_is_not_supported(name: str, bits: int) -> None:
    algorithm = ALGORITHMS[name]

    assert status_of(lambda: check_length(algorithm, bits)) == Status.NTE_NOT_SUPPORTED
    assert status_of(lambda: generate_private_key(algorithm, bits)) == Status.NTE_NOT_SUPPORTED


LENGTHS = {
    "RSA": (1024, 16384, 8, 2048),
    "ECDSA_P256": (256, 256, 0, 256),
    "ECDSA_P384": (384, 384, 0, 384),
    "ECDSA_P521": (521, 521, 0, 521),
    "ECDH_P256": (256, 256, 0, 256),
    "ECDH_P384": (384, 384, 0, 384),
    "ECDH_P521": (521, 521, 0, 521),
    "ED25519": (256, 256, 0, 256),
    "AES": (128, 256, 64, 256),
}
"""NCRYPT_SUPPORTED_LENGTHS: minimum, maximum, increment, default."""


def test_the_lengths_of_every_algorithm() -> None:
    assert {name: astuple(one.lengths) for name, one in ALGORITHMS.items()} == LENGTHS


@pytest.mark.parametrize(
    ("name", "bits"),
    [("RSA", 1024), ("RSA", 2048), ("RSA", 2056), ("RSA", 16384), ("AES", 128), ("AES", 192)],
)
def test_a_length_within_the_steps_is_one_of_the_algorithms(name: str, bits: int) -> None:
    check_length(ALGORITHMS[name], bits)


@pytest.mark.parametrize(
    ("name", "allowed"), [("RSA", "1024 to 16384 in steps of 8"), ("ECDSA_P384", "384")]
)
def test_a_wrong_length_is_answered_with_the_right_ones(name: str, allowed: str) -> None:
    with pytest.raises(NCryptError) as caught:
        check_length(ALGORITHMS[name], 1)
    assert caught.value.action == f"Use {allowed}."


def test_only_rsa_keys_are_made_where_nobody_waits() -> None:
    assert [name for name, one in ALGORITHMS.items() if one.slow_to_generate] == ["RSA"]


@pytest.mark.parametrize("curve", CURVES)
def test_a_generated_key_lies_on_its_curve(curve: str) -> None:
    key = generate_private_key(ALGORITHMS[curve], ALGORITHMS[curve].lengths.default)

    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == CURVES[curve].name


def test_a_generated_rsa_key_has_the_length_and_the_usual_exponent() -> None:
    key = generate_private_key(ALGORITHMS["RSA"], 2056)

    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2056
    assert key.public_key().public_numbers().e == 65537


@pytest.mark.parametrize("name", ["ECDSA_P256", "ED25519", "AES"])
def test_two_generated_keys_differ(name: str) -> None:
    algorithm = ALGORITHMS[name]

    keys = [private_key_bytes(generate_private_key(algorithm, 256)) for _ in range(2)]

    assert keys[0] != keys[1]


# --- a key that comes back ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_key_comes_back_as_it_was(name: str) -> None:
    algorithm = ALGORITHMS[name]
    key = generate_private_key(algorithm, algorithm.lengths.default)
    back = own_private_key(private_key_bytes(key), algorithm, public_part(key))

    assert private_key_bytes(back) == private_key_bytes(key)
    assert bits_of(back) == algorithm.lengths.default
    assert public_part(back) == public_part(key)


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_an_aes_key_is_random_bytes_and_has_no_public_part(bits: int) -> None:
    key = generate_private_key(ALGORITHMS["AES"], bits, random=lambda count: b"r" * count)

    assert private_key_bytes(key) == b"r" * (bits // 8)
    assert public_part(key) == b""
    assert "r" * 8 not in repr(key)


@pytest.mark.parametrize(
    "public_der",
    [
        b"",
        public_key_der(ec_key("ECDSA_P384").public_key()),
        public_key_der(rsa_key().public_key()),
    ],
    ids=["none", "another curve's", "another algorithm's"],
)
def test_a_key_with_the_public_key_of_another_is_bad_data(public_der: bytes) -> None:
    assert (
        status_of(lambda: own_private_key(pkcs8(), ALGORITHMS["RSA"], public_der))
        == Status.NTE_BAD_DATA
    )


# --- a key from outside ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "group"),
    [
        (NCRYPT_ALLOW_ALL_USAGES, "ECDSA"),
        (NCRYPT_ALLOW_SIGNING_FLAG, "ECDSA"),
        (NCRYPT_ALLOW_SIGNING_FLAG | NCRYPT_ALLOW_KEY_AGREEMENT_FLAG, "ECDSA"),
        (NCRYPT_ALLOW_KEY_AGREEMENT_FLAG, "ECDH"),
        (0, "ECDSA"),
    ],
)
def test_its_usage_tells_what_a_foreign_key_of_a_curve_is_for(usage: int, group: str) -> None:
    """PKCS #8 does not say it."""
    _, algorithm = imported_private_key(pkcs8(), usage)

    assert algorithm is ALGORITHMS[f"{group}_P256"]


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_foreign_aes_key_is_its_bytes(size: int) -> None:
    key, algorithm = imported_symmetric_key(b"k" * size)

    assert (private_key_bytes(key), algorithm.name) == (b"k" * size, "AES")


@pytest.mark.parametrize("size", [0, 1, 15, 17, 31, 33, 64])
def test_bytes_that_are_no_aes_key_are_not_supported(size: int) -> None:
    assert status_of(lambda: imported_symmetric_key(b"k" * size)) == Status.NTE_NOT_SUPPORTED


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("RSA", rsa_key()),
        ("ED25519", ed25519.Ed25519PrivateKey.generate()),
        *((curve, ec_key(curve)) for curve in CURVES),
    ],
)
def test_a_foreign_key_is_taken_with_its_algorithm(name: str, key: PrivateKey) -> None:
    imported, algorithm = imported_private_key(private_key_bytes(key), NCRYPT_ALLOW_ALL_USAGES)

    assert private_key_bytes(imported) == private_key_bytes(key)
    assert algorithm is ALGORITHMS[name]


NO_KEYS = {
    "nothing": b"",
    "text": b"no key at all",
    "an empty sequence": b"\x30\x00",
    "a public key": public_key_der(ec_key().public_key()),
    "PEM": ec_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "with a password": ec_key().private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    ),
    "cut short": pkcs8()[:-1],
    "with something behind": pkcs8() + b"\0",
}


@pytest.mark.parametrize("data", NO_KEYS.values(), ids=NO_KEYS)
def test_what_is_no_private_key_is_bad_data(data: bytes) -> None:
    assert (
        status_of(lambda: imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES))
        == Status.NTE_BAD_DATA
    )


OTHER_KEYS = {
    "X25519": x25519.X25519PrivateKey.generate(),
    "DSA": dsa.generate_private_key(1024),
    "secp256k1": ec.generate_private_key(ec.SECP256K1()),
    "P-224": ec.generate_private_key(ec.SECP224R1()),
    "RSA-1028": rsa.generate_private_key(65537, 1028),
    "RSA-2050": rsa.generate_private_key(65537, 2050),
}


@pytest.mark.parametrize("key", OTHER_KEYS.values(), ids=OTHER_KEYS)
def test_a_key_that_keyiso_has_not_is_not_supported(key: object) -> None:
    assert (
        status_of(lambda: imported_private_key(in_pkcs8(key), NCRYPT_ALLOW_ALL_USAGES))
        == Status.NTE_NOT_SUPPORTED
    )


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, size] if size < 128 else [tag, 0x80 | len(length), *length]) + content


def rsa_pkcs8(*numbers: int) -> bytes:
    """An RSA private key of any numbers (RFC 8017, appendix A.1.2), in PKCS #8."""
    integers = [
        der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big")) for number in numbers
    ]
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return der(0x30, b"\x02\x01\x00" + algorithm + der(0x04, der(0x30, b"".join(integers))))


def test_the_slow_validation_is_not_done_for_a_key_of_our_own() -> None:
    """What was sealed was validated before, and every use would pay for it again."""
    n = rsa_key().private_numbers()
    e = n.public_numbers
    data = rsa_pkcs8(0, e.n, e.e, n.d, n.p, n.q, n.dmp1 ^ 2, n.dmq1, n.iqmp)

    own_private_key(data, ALGORITHMS["RSA"], public_key_der(rsa_key().public_key()))
    assert status_of(lambda: imported_private_key(data, 2)) == Status.NTE_BAD_DATA


def test_the_longhand_key_of_this_file_is_one() -> None:
    n = rsa_key().private_numbers()
    e = n.public_numbers
    data = rsa_pkcs8(0, e.n, e.e, n.d, n.p, n.q, n.dmp1, n.dmq1, n.iqmp)

    assert private_key_bytes(
        imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES)[0]
    ) == private_key_bytes(rsa_key())


def test_a_length_that_keyiso_has_not_is_refused_before_the_key_is_validated() -> None:
    """A number that is no prime shows what was looked at first."""
    p, q = (1 << 8300) + 1, (1 << 8300) + 1
    data = rsa_pkcs8(0, p * q, 65537, 65537, p, q, 65537, 65537, 65537)

    assert (
        status_of(lambda: imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES))
        == Status.NTE_NOT_SUPPORTED
    )


def test_an_unknown_curve_is_not_supported() -> None:
    data = pkcs8().replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030155"))

    assert (
        status_of(lambda: imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES))
        == Status.NTE_NOT_SUPPORTED
    )


@pytest.mark.parametrize("number", ["d", "p", "q", "dmp1", "iqmp"])
def test_an_rsa_key_whose_numbers_do_not_fit_is_bad_data(number: str) -> None:
    """Its own signatures would give away its factors."""
    value: int = getattr(rsa_key().private_numbers(), number)
    size = (value.bit_length() + 7) // 8
    good = value.to_bytes(size, "big")
    bad = (value ^ 2).to_bytes(size, "big")
    data = private_key_bytes(rsa_key())
    assert data.count(good) == 1

    assert (
        status_of(lambda: imported_private_key(data.replace(good, bad), NCRYPT_ALLOW_ALL_USAGES))
        == Status.NTE_BAD_DATA
    )


def test_an_ec_key_whose_public_key_is_of_another_is_bad_data() -> None:
    numbers = ec_key().public_key().public_numbers()
    other = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    data = (
        pkcs8()
        .replace(numbers.x.to_bytes(32, "big"), other.x.to_bytes(32, "big"))
        .replace(numbers.y.to_bytes(32, "big"), other.y.to_bytes(32, "big"))
    )

    assert data != pkcs8()
    assert (
        status_of(lambda: imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES))
        == Status.NTE_BAD_DATA
    )


@pytest.mark.parametrize("key", [rsa_key(), ec_key()], ids=["RSA", "EC"])
def test_an_older_form_than_pkcs8_is_bad_data(key: PrivateKey) -> None:
    data = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())

    assert (
        status_of(lambda: imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES))
        == Status.NTE_BAD_DATA
    )


def test_the_message_of_an_error_does_not_quote_the_key() -> None:
    data = pkcs8()[:-1]

    with pytest.raises(NCryptError) as caught:
        imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert data[-8:].hex() not in str(caught.value)
