"""Private keys: generate them, and take them from and to the bytes that are sealed.

Asymmetric keys are DER PKCS #8, AES keys are their bytes. Only a trustlet worker imports this.
"""

import os
from collections.abc import Callable

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keyiso import limits
from keyiso.crypto.algorithms import ALGORITHMS, Algorithm, algorithm_of_curve, check_length
from keyiso.crypto.key_types import AsymmetricPrivateKey, PrivateKey, SymmetricKey, bits_of
from keyiso.crypto.public_keys import public_key_der
from keyiso.crypto.rsa_numbers import check_rsa_numbers
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import NCRYPT_ALLOW_KEY_AGREEMENT_FLAG, NCRYPT_ALLOW_SIGNING_FLAG
from keyiso.status import Status

_PUBLIC_EXPONENT = 65537
_DER_SEQUENCE = 0x30
_DER_INTEGER_OF_ONE_BYTE = b"\x02\x01"


def generate_private_key(
    algorithm: Algorithm, bits: int, *, random: Callable[[int], bytes] = os.urandom
) -> PrivateKey:
    """A new key. Raises ``NTE_NOT_SUPPORTED`` for a length the algorithm does not have."""
    check_length(algorithm, bits)
    match algorithm.family:
        case "rsa":
            return rsa.generate_private_key(_PUBLIC_EXPONENT, bits)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "aes":
            return SymmetricKey(random(bits // 8))
    if algorithm.curve is None:
        raise ncrypt_error(Status.NTE_NOT_SUPPORTED, f"{algorithm.name} keys are not generated")
    return ec.generate_private_key(algorithm.curve())


def private_key_bytes(key: PrivateKey) -> bytes:
    """The key in the clear: what a key blob encrypts."""
    if isinstance(key, SymmetricKey):
        return key.value
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def public_part(key: PrivateKey) -> bytes:
    """DER SubjectPublicKeyInfo; empty for an AES key."""
    return b"" if isinstance(key, SymmetricKey) else public_key_der(key.public_key())


def own_private_key(value: bytes, algorithm: Algorithm, public_der: bytes) -> PrivateKey:
    """The key that an authenticated blob gave back.

    It was validated when it was generated or imported, so that the slow RSA validation (36 ms
    for 2048 bits) is not repeated. Raises ``NTE_BAD_DATA`` when private and public part differ.
    """
    if algorithm.family == "aes":
        return SymmetricKey(value)
    key = _load(value, skip_validation=True)
    if public_key_der(key.public_key()) != public_der:
        raise ncrypt_error(Status.NTE_BAD_DATA, "the private key does not fit its public key")
    return key


def imported_private_key(pkcs8: bytes, usage: int) -> tuple[PrivateKey, Algorithm]:
    """A foreign key, validated, with its algorithm.

    PKCS #8 does not say whether a curve's key is for ECDSA or ECDH: it is ECDH when the usage
    includes agreement and not signing. Raises ``NTE_BAD_DATA`` for what is not a DER PKCS #8 key
    in the clear or fails validation, ``NTE_NOT_SUPPORTED`` for an algorithm or length that
    keyiso does not have.
    """
    if not _looks_like_pkcs8(pkcs8):
        raise _not_pkcs8()
    claimed = _load(pkcs8, skip_validation=True)
    algorithm = _algorithm_of(claimed, usage)
    check_length(algorithm, bits_of(claimed))  # before the validation, which takes long
    if isinstance(claimed, rsa.RSAPrivateKey) and claimed.key_size > limits.SHORT_RSA_BITS:
        # The library's validation would stop every thread of the process for a minute.
        check_rsa_numbers(claimed.private_numbers())
        return claimed, algorithm
    return _load(pkcs8, skip_validation=False), algorithm


def imported_symmetric_key(value: bytes) -> tuple[PrivateKey, Algorithm]:
    """A foreign AES key. Raises ``NTE_NOT_SUPPORTED`` for a length that AES does not have."""
    check_length(ALGORITHMS["AES"], 8 * len(value))
    return SymmetricKey(value), ALGORITHMS["AES"]


def _load(pkcs8: bytes, *, skip_validation: bool) -> AsymmetricPrivateKey:
    try:
        key = serialization.load_der_private_key(
            pkcs8, None, unsafe_skip_rsa_key_validation=skip_validation
        )
    except UnsupportedAlgorithm:
        raise _unsupported() from None
    except (ValueError, TypeError, InternalError):
        # The library's own message may quote the input; it stays here.
        raise _not_pkcs8() from None
    if not isinstance(key, AsymmetricPrivateKey):
        raise _unsupported()
    return key


def _algorithm_of(key: AsymmetricPrivateKey, usage: int) -> Algorithm:
    if isinstance(key, rsa.RSAPrivateKey):
        return ALGORITHMS["RSA"]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return ALGORITHMS["ED25519"]
    agreement = usage & NCRYPT_ALLOW_KEY_AGREEMENT_FLAG and not usage & NCRYPT_ALLOW_SIGNING_FLAG
    return algorithm_of_curve(key.curve, "ECDH" if agreement else "ECDSA")


def _looks_like_pkcs8(der: bytes) -> bool:
    """A sequence of a version (0 or 1) and a sequence (RFC 5958); the older forms that the
    library reads too have something else in the second place.
    """
    if len(der) < 2 or der[0] != _DER_SEQUENCE:
        return False
    length_bytes = der[1] & 0x7F if der[1] & 0x80 else 0
    body = der[2 + length_bytes :]
    return body[:2] == _DER_INTEGER_OF_ONE_BYTE and body[3:4] == bytes([_DER_SEQUENCE])


def _not_pkcs8() -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        "the data is not a valid private key in DER PKCS #8 without password",
    )


def _unsupported() -> NCryptError:
    return ncrypt_error(
        Status.NTE_NOT_SUPPORTED,
        "keys of this algorithm or curve are not supported",
        f"Use one of {', '.join(ALGORITHMS)}.",
    )
