"""What a password of a PKCS #8 key may cost is bounded before anything is derived from it."""

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7

from keyiso import limits
from keyiso.crypto.password_cost import check_password_cost
from keyiso.errors import NCryptError
from keyiso.status import Status
from tests.unit.encrypted_keys import (
    HMAC_SHA256,
    PBES2,
    SALT,
    der,
    number,
    oid,
    old_scheme,
    pbes2,
    pbkdf2,
    scrypt,
    sequence,
)
from tests.unit.samples import ec_key, pkcs8, rsa_key

PASSWORD = b"password"

MOST = limits.PASSWORD_ITERATIONS
PRF = sequence(oid(HMAC_SHA256), der(0x05))

WITHIN = {
    "PBKDF2": pbkdf2(MOST),
    "PBKDF2 with all its parameters": pbkdf2(MOST, number(32), PRF),
    "an older scheme": old_scheme(MOST),
    "scrypt as OpenSSL has it": scrypt(2**14, 8, 1),
    "scrypt": scrypt(2**18, 8, 1),
    "scrypt of many lanes": scrypt(2**14, 8, 16),
}
ABOVE = {
    "PBKDF2": (pbkdf2(MOST + 1), "ITERATIONS"),
    "PBKDF2 with all its parameters": (pbkdf2(MOST + 1, number(32), PRF), "ITERATIONS"),
    "PBKDF2 for years": (pbkdf2(2**63 - 1), "ITERATIONS"),
    "PBKDF2 for ever": (pbkdf2(2**4000), "ITERATIONS"),
    "a long key": (pbkdf2(1000, number(MOST + 1)), "ITERATIONS"),
    "an older scheme": (old_scheme(MOST + 1), "ITERATIONS"),
    "an unknown scheme": (pbes2("2b0601", number(MOST + 1)), "ITERATIONS"),
    "scrypt, N": (scrypt(2**19, 8, 1), "SCRYPT_BYTES"),
    "scrypt, r": (scrypt(2**14, 2**8, 1), "SCRYPT_BYTES"),
    "scrypt, p": (scrypt(2**14, 8, 17), "SCRYPT_BYTES"),
    "scrypt for ever": (scrypt(2**4000, 8, 1), "SCRYPT_BYTES"),
    "scrypt with a zero": (scrypt(2**30, 8, 0), "SCRYPT_BYTES"),
}


@pytest.mark.parametrize("key", WITHIN.values(), ids=WITHIN)
def test_usual_costs_are_paid(key: bytes) -> None:
    check_password_cost(key)


@pytest.mark.parametrize(("key", "limit"), ABOVE.values(), ids=ABOVE)
def test_absurd_costs_are_refused(key: bytes, limit: str) -> None:
    with pytest.raises(NCryptError, match=f"PASSWORD_{limit} ") as caught:
        check_password_cost(key)

    assert caught.value.status == Status.KEYISO_E_LIMIT


def sealed(derived: bytes) -> bytes:
    padder, encryptor = PKCS7(128).padder(), Cipher(AES256(derived), CBC(bytes(16))).encryptor()
    padded = padder.update(pkcs8()) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


@pytest.mark.parametrize("kdf", ["PBKDF2", "scrypt"])
def test_what_is_made_here_is_what_the_library_reads(kdf: str) -> None:
    """It opens a key of this form, so that it takes the numbers from where they are found here."""
    if kdf == "PBKDF2":
        derived = PBKDF2HMAC(hashes.SHA256(), 32, SALT, 1000).derive(PASSWORD)
        key = pbkdf2(1000, PRF, data=sealed(derived))
    else:
        key = scrypt(2**10, 8, 2, data=sealed(Scrypt(SALT, 32, 2**10, 8, 2).derive(PASSWORD)))

    opened = serialization.load_der_private_key(key, PASSWORD)

    assert opened.public_key() == ec_key().public_key()


NO_ENCRYPTED_KEY = {
    "nothing": b"",
    "a key in the clear": pkcs8(),
    "an RSA key in the clear": pkcs8(rsa_key()),
    "text": b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
    "an algorithm without parameters": sequence(sequence(oid(PBES2)), der(0x04, b"")),
    "lengths of lengths": b"\x30\xff" * 1000,
}


@pytest.mark.parametrize("data", NO_ENCRYPTED_KEY.values(), ids=NO_ENCRYPTED_KEY)
def test_what_is_no_encrypted_key_is_left_to_who_loads_it(data: bytes) -> None:
    check_password_cost(data)


def test_every_cut_is_taken() -> None:
    key = pbkdf2(MOST + 1)
    for end in range(len(key)):
        check_password_cost(key[:end])
