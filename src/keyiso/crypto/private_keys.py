"""Private keys: generate them, and take them from and to the bytes that are sealed.

Only a trustlet worker imports this module.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keyiso.crypto.algorithms import ALGORITHMS, Algorithm, check_length
from keyiso.crypto.public_keys import public_key_der
from keyiso.crypto.signatures import PrivateKey
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

_PUBLIC_EXPONENT = 65537


def generate_private_key(algorithm: Algorithm, bits: int) -> PrivateKey:
    """A new key. Raises ``NTE_NOT_SUPPORTED`` for a length the algorithm does not have."""
    check_length(algorithm, bits)
    if algorithm.curve is not None:
        return ec.generate_private_key(algorithm.curve())
    return rsa.generate_private_key(_PUBLIC_EXPONENT, bits)


def private_key_bytes(key: PrivateKey) -> bytes:
    """The key as DER PKCS #8, in the clear: what a key blob encrypts."""
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def own_private_key(pkcs8: bytes, public_der: bytes) -> PrivateKey:
    """The key that an authenticated blob gave back.

    It was validated when it was generated or imported, so that the slow RSA validation (36 ms
    for 2048 bits) is not repeated. Raises ``NTE_BAD_DATA`` when private and public part differ.
    """
    key = _load(pkcs8, skip_validation=True)
    if public_key_der(key.public_key()) != public_der:
        raise ncrypt_error(Status.NTE_BAD_DATA, "the private key does not fit its public key")
    return key


def imported_private_key(pkcs8: bytes) -> tuple[PrivateKey, Algorithm]:
    """A foreign key, validated, with its algorithm.

    Raises ``NTE_BAD_DATA`` for what is not a DER PKCS #8 key in the clear or fails validation,
    ``NTE_NOT_SUPPORTED`` for an algorithm or length that keyiso does not have.
    """
    key = _load(pkcs8, skip_validation=False)
    algorithm = _algorithm_of(key)
    check_length(algorithm, key.key_size)
    return key, algorithm


def _load(pkcs8: bytes, *, skip_validation: bool) -> PrivateKey:
    try:
        key = serialization.load_der_private_key(
            pkcs8, None, unsafe_skip_rsa_key_validation=skip_validation
        )
    except UnsupportedAlgorithm:
        raise _unsupported() from None
    except (ValueError, TypeError):
        # The library's own message may quote the input; it stays here.
        raise ncrypt_error(
            Status.NTE_BAD_DATA,
            "the data is not a valid private key in DER PKCS #8 without password",
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise _unsupported()
    return key


def _algorithm_of(key: PrivateKey) -> Algorithm:
    if isinstance(key, rsa.RSAPrivateKey):
        return ALGORITHMS["RSA"]
    for algorithm in ALGORITHMS.values():
        if algorithm.curve is not None and key.curve.name == algorithm.curve().name:
            return algorithm
    raise _unsupported()


def _unsupported() -> NCryptError:
    return ncrypt_error(
        Status.NTE_NOT_SUPPORTED,
        "keys of this algorithm or curve are not supported",
        f"Use one of {', '.join(ALGORITHMS)}.",
    )
