"""CNG's private key blobs (bcrypt.h).

``RSAPRIVATEBLOB``: header, exponent, modulus, prime1, prime2. ``RSAFULLPRIVATEBLOB`` adds
exponent1, exponent2, coefficient and the private exponent. ``ECCPRIVATEBLOB``: magic, cbKey, X,
Y, d. Only the worker, which checks the export policy, makes them.
"""

import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keyiso.errors import ncrypt_error
from keyiso.identifiers import (
    BCRYPT_ECCPRIVATE_BLOB,
    BCRYPT_PRIVATE_KEY_BLOB,
    BCRYPT_RSAFULLPRIVATE_BLOB,
    BCRYPT_RSAPRIVATE_BLOB,
)
from keyiso.magics import (
    BCRYPT_ECDH_PRIVATE_P256_MAGIC,
    BCRYPT_ECDH_PRIVATE_P384_MAGIC,
    BCRYPT_ECDH_PRIVATE_P521_MAGIC,
    BCRYPT_ECDSA_PRIVATE_P256_MAGIC,
    BCRYPT_ECDSA_PRIVATE_P384_MAGIC,
    BCRYPT_ECDSA_PRIVATE_P521_MAGIC,
    BCRYPT_RSAFULLPRIVATE_MAGIC,
    BCRYPT_RSAPRIVATE_MAGIC,
)
from keyiso.status import Status

_RSA_HEADER: Final = struct.Struct("<6I")
_ECC_HEADER: Final = struct.Struct("<2I")
_MAGICS: Final = {
    ("ECDSA", 256): BCRYPT_ECDSA_PRIVATE_P256_MAGIC,
    ("ECDSA", 384): BCRYPT_ECDSA_PRIVATE_P384_MAGIC,
    ("ECDSA", 521): BCRYPT_ECDSA_PRIVATE_P521_MAGIC,
    ("ECDH", 256): BCRYPT_ECDH_PRIVATE_P256_MAGIC,
    ("ECDH", 384): BCRYPT_ECDH_PRIVATE_P384_MAGIC,
    ("ECDH", 521): BCRYPT_ECDH_PRIVATE_P521_MAGIC,
}

PRIVATE_BLOBS: Final = (
    BCRYPT_PRIVATE_KEY_BLOB,
    BCRYPT_RSAPRIVATE_BLOB,
    BCRYPT_RSAFULLPRIVATE_BLOB,
    BCRYPT_ECCPRIVATE_BLOB,
)


def export_private_blob(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, group: str, blob_type: str
) -> bytes:
    """The key as a CNG blob; ``group`` (ECDSA or ECDH) tells apart what a curve's key is for.

    Raises ``NTE_BAD_TYPE`` when the key cannot be exported as that type.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        if blob_type in (BCRYPT_PRIVATE_KEY_BLOB, BCRYPT_RSAPRIVATE_BLOB):
            return _rsa_blob(key, full=False)
        if blob_type == BCRYPT_RSAFULLPRIVATE_BLOB:
            return _rsa_blob(key, full=True)
    elif blob_type in (BCRYPT_PRIVATE_KEY_BLOB, BCRYPT_ECCPRIVATE_BLOB):
        return _ecc_blob(key, group)
    raise ncrypt_error(Status.NTE_BAD_TYPE, f"the key cannot be exported as {blob_type!r:.80}")


def _rsa_blob(key: rsa.RSAPrivateKey, *, full: bool) -> bytes:
    numbers = key.private_numbers()
    e, n = numbers.public_numbers.e, numbers.public_numbers.n
    sizes = [(value.bit_length() + 7) // 8 for value in (e, n, numbers.p, numbers.q)]
    exponent_size, modulus_size, p_size, q_size = sizes
    magic = BCRYPT_RSAFULLPRIVATE_MAGIC if full else BCRYPT_RSAPRIVATE_MAGIC
    parts = [
        _RSA_HEADER.pack(magic, key.key_size, *sizes),
        e.to_bytes(exponent_size, "big"),
        n.to_bytes(modulus_size, "big"),
        numbers.p.to_bytes(p_size, "big"),
        numbers.q.to_bytes(q_size, "big"),
    ]
    if full:
        parts += [
            numbers.dmp1.to_bytes(p_size, "big"),
            numbers.dmq1.to_bytes(q_size, "big"),
            numbers.iqmp.to_bytes(p_size, "big"),
            numbers.d.to_bytes(modulus_size, "big"),
        ]
    return b"".join(parts)


def _ecc_blob(key: ec.EllipticCurvePrivateKey, group: str) -> bytes:
    size = (key.key_size + 7) // 8
    numbers = key.private_numbers()
    point = numbers.public_numbers
    return b"".join(
        (
            _ECC_HEADER.pack(_MAGICS[group, key.key_size], size),
            point.x.to_bytes(size, "big"),
            point.y.to_bytes(size, "big"),
            numbers.private_value.to_bytes(size, "big"),
        )
    )
