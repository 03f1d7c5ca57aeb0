"""Public keys: DER SubjectPublicKeyInfo inside keyiso, CNG blobs at its edge.

Blob layouts (bcrypt.h): little-endian DWORD headers, big-endian numbers of fixed width.
``RSAPUBLICBLOB``: magic, bits, cbPublicExp, cbModulus, 0, 0, then exponent and modulus.
``ECCPUBLICBLOB``: magic, cbKey, then X and Y. ``PUBLICBLOB`` is whichever fits the key.
"""

import hashlib
import struct
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keyiso.crypto.algorithms import ALGORITHMS, Algorithm, algorithm_of_curve
from keyiso.crypto.key_types import PublicKey
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.identifiers import (
    BCRYPT_ECCPUBLIC_BLOB,
    BCRYPT_PUBLIC_KEY_BLOB,
    BCRYPT_RSAPUBLIC_BLOB,
)
from keyiso.magics import (
    BCRYPT_ECDH_PUBLIC_P256_MAGIC,
    BCRYPT_ECDH_PUBLIC_P384_MAGIC,
    BCRYPT_ECDH_PUBLIC_P521_MAGIC,
    BCRYPT_ECDSA_PUBLIC_P256_MAGIC,
    BCRYPT_ECDSA_PUBLIC_P384_MAGIC,
    BCRYPT_ECDSA_PUBLIC_P521_MAGIC,
    BCRYPT_RSAPUBLIC_MAGIC,
)
from keyiso.status import Status

PUBLIC_BLOBS: Final = (BCRYPT_PUBLIC_KEY_BLOB, BCRYPT_RSAPUBLIC_BLOB, BCRYPT_ECCPUBLIC_BLOB)

ED25519_PUBLIC_MAGIC: Final = 0x31504445
"""EDP1: keyiso's own, for a key that CNG has no blob for."""

_RSA_HEADER: Final = struct.Struct("<6I")
_ECC_HEADER: Final = struct.Struct("<2I")
_CURVES: Final[dict[int, tuple[str, type[ec.EllipticCurve]]]] = {
    BCRYPT_ECDSA_PUBLIC_P256_MAGIC: ("ECDSA", ec.SECP256R1),
    BCRYPT_ECDSA_PUBLIC_P384_MAGIC: ("ECDSA", ec.SECP384R1),
    BCRYPT_ECDSA_PUBLIC_P521_MAGIC: ("ECDSA", ec.SECP521R1),
    BCRYPT_ECDH_PUBLIC_P256_MAGIC: ("ECDH", ec.SECP256R1),
    BCRYPT_ECDH_PUBLIC_P384_MAGIC: ("ECDH", ec.SECP384R1),
    BCRYPT_ECDH_PUBLIC_P521_MAGIC: ("ECDH", ec.SECP521R1),
}
_MAGICS: Final = {(group, curve().name): magic for magic, (group, curve) in _CURVES.items()}


def public_key_der(key: PublicKey) -> bytes:
    """The key as DER SubjectPublicKeyInfo."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_public_key(der: bytes) -> PublicKey:
    """The key of a DER SubjectPublicKeyInfo. Raises ``NTE_BAD_DATA`` for anything else."""
    try:
        key = serialization.load_der_public_key(der)
    except UnsupportedAlgorithm:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, "keys of this algorithm or curve are not supported"
        ) from None
    except ValueError:
        raise _bad_blob("it is not a public key in DER") from None
    if not isinstance(key, PublicKey):
        raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "keys of this algorithm are not supported")
    if isinstance(key, ec.EllipticCurvePublicKey):
        algorithm_of_curve(key.curve, "ECDSA")  # raises for a curve that keyiso has not
    return key


def fingerprint(public_der: bytes) -> bytes:
    """What proves that two handles name the same key: SHA-256 of SubjectPublicKeyInfo."""
    return hashlib.sha256(public_der).digest()


def export_public_blob(key: PublicKey, group: str, blob_type: str) -> bytes:
    """The key as a CNG public blob; ``group`` tells an ECDSA key from an ECDH one.

    Raises ``NTE_BAD_TYPE`` when the key cannot be exported as that type, ``NTE_NOT_SUPPORTED``
    for a type that keyiso does not know as public.
    """
    if blob_type not in PUBLIC_BLOBS:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, f"the blob type {blob_type!r:.80} is not a public one"
        )
    if isinstance(key, rsa.RSAPublicKey):
        if blob_type != BCRYPT_ECCPUBLIC_BLOB:
            return _rsa_blob(key)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        if blob_type == BCRYPT_PUBLIC_KEY_BLOB:
            value = key.public_bytes_raw()
            return _ECC_HEADER.pack(ED25519_PUBLIC_MAGIC, len(value)) + value
    elif blob_type != BCRYPT_RSAPUBLIC_BLOB:
        return _ecc_blob(key, group)
    raise ncrypt_error(Status.NTE_BAD_TYPE, f"the key cannot be exported as {blob_type}")


def import_public_blob(
    blob: bytes, blob_type: str = BCRYPT_PUBLIC_KEY_BLOB
) -> tuple[PublicKey, Algorithm]:
    """The key of a CNG public blob, and its algorithm.

    Raises ``NTE_INVALID_PARAMETER`` for an unknown magic and ``NTE_BAD_DATA`` where lengths or
    numbers are wrong, as the Microsoft software provider does. The header's bit length is not
    believed and, as there, not an error.
    """
    if len(blob) < _ECC_HEADER.size:
        raise _bad_blob("it is shorter than its header")
    magic, size = _ECC_HEADER.unpack_from(blob)
    body = blob[_ECC_HEADER.size :]
    is_rsa = magic == BCRYPT_RSAPUBLIC_MAGIC
    if blob_type != BCRYPT_PUBLIC_KEY_BLOB and is_rsa != (blob_type == BCRYPT_RSAPUBLIC_BLOB):
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"the blob's magic {magic:#010x} is not {blob_type}'s"
        )
    try:
        if is_rsa:
            return _rsa_key(blob), ALGORITHMS["RSA"]
        if magic in _CURVES:
            group, curve = _CURVES[magic]
            return _ecc_key(curve(), size, body), algorithm_of_curve(curve(), group)
        if magic == ED25519_PUBLIC_MAGIC:
            if size != len(body):
                raise _bad_blob("its lengths do not add up")
            return ed25519.Ed25519PublicKey.from_public_bytes(body), ALGORITHMS["ED25519"]
    except ValueError:
        raise _bad_blob("its numbers are not a public key") from None
    raise ncrypt_error(
        Status.NTE_INVALID_PARAMETER, f"the blob's magic {magic:#010x} is not a public key's"
    )


def _rsa_blob(key: rsa.RSAPublicKey) -> bytes:
    numbers = key.public_numbers()
    exponent = _to_bytes(numbers.e, (numbers.e.bit_length() + 7) // 8)
    modulus = _to_bytes(numbers.n, (key.key_size + 7) // 8)
    header = _RSA_HEADER.pack(
        BCRYPT_RSAPUBLIC_MAGIC, key.key_size, len(exponent), len(modulus), 0, 0
    )
    return header + exponent + modulus


def _ecc_blob(key: ec.EllipticCurvePublicKey, group: str) -> bytes:
    size = (key.curve.key_size + 7) // 8
    point = key.public_numbers()
    header = _ECC_HEADER.pack(_MAGICS[group, key.curve.name], size)
    return header + _to_bytes(point.x, size) + _to_bytes(point.y, size)


def _rsa_key(blob: bytes) -> rsa.RSAPublicKey:
    if len(blob) < _RSA_HEADER.size:
        raise _bad_blob("it is shorter than its header")
    _, _, exponent_bytes, modulus_bytes, _, _ = _RSA_HEADER.unpack_from(blob)
    if len(blob) != _RSA_HEADER.size + exponent_bytes + modulus_bytes or not exponent_bytes:
        raise _bad_blob("its lengths do not add up")
    body = blob[_RSA_HEADER.size :]
    e = int.from_bytes(body[:exponent_bytes], "big")
    n = int.from_bytes(body[exponent_bytes:], "big")
    return rsa.RSAPublicNumbers(e, n).public_key()


def _ecc_key(curve: ec.EllipticCurve, size: int, body: bytes) -> ec.EllipticCurvePublicKey:
    if size != (curve.key_size + 7) // 8 or len(body) != 2 * size:
        raise _bad_blob("its lengths do not add up")
    x, y = int.from_bytes(body[:size], "big"), int.from_bytes(body[size:], "big")
    return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def _to_bytes(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


def _bad_blob(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, f"the public blob is not usable: {cause}")
