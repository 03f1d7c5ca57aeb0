"""What CNG's formats are, known without asking keyiso, so that a slip there is not repeated here.

Layouts and magics as in bcrypt.h; signatures are checked by `cryptography` alone.
"""

import struct

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CURVES: dict[bytes, tuple[ec.EllipticCurve, int]] = {
    b"ECS1": (ec.SECP256R1(), 32),
    b"ECS3": (ec.SECP384R1(), 48),
    b"ECS5": (ec.SECP521R1(), 66),
}

HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA1": hashes.SHA1(),
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
    "SHA3-256": hashes.SHA3_256(),
    "SHA3-384": hashes.SHA3_384(),
    "SHA3-512": hashes.SHA3_512(),
}


def dword(value: int) -> bytes:
    """A DWORD as it lies in memory."""
    return struct.pack("<I", value)


def utf16z(text: str) -> bytes:
    """A string property: UTF-16-LE and its NUL."""
    return text.encode("utf-16-le") + b"\0\0"


def digest(hash_name: str, data: bytes = b"message") -> bytes:
    """The hash of some data."""
    computation = hashes.Hash(HASHES[hash_name])
    computation.update(data)
    return computation.finalize()


def parse_public_blob(blob: bytes) -> PublicKey:
    """The key of a BCRYPT_RSAPUBLIC_BLOB or BCRYPT_ECCPUBLIC_BLOB, every field of it checked.

    Also keyiso's own blob of an Ed25519 key: magic, length, the key as RFC 8032 has it.
    """
    if blob[:4] == b"EDP1":
        assert blob[4:8] == dword(32)
        return ed25519.Ed25519PublicKey.from_public_bytes(blob[8:])
    if blob[:4] == b"RSA1":
        bits, exponent, modulus, prime1, prime2 = struct.unpack_from("<5I", blob, 4)
        assert (prime1, prime2) == (0, 0)
        assert len(blob) == 24 + exponent + modulus
        e = int.from_bytes(blob[24 : 24 + exponent], "big")
        n = int.from_bytes(blob[24 + exponent :], "big")
        assert bits == n.bit_length()
        assert modulus == (bits + 7) // 8
        assert exponent == (e.bit_length() + 7) // 8
        return rsa.RSAPublicNumbers(e, n).public_key()
    curve, size = _CURVES[blob[:4]]
    (width,) = struct.unpack_from("<I", blob, 4)
    assert width == size
    assert len(blob) == 8 + 2 * size
    x = int.from_bytes(blob[8 : 8 + size], "big")
    y = int.from_bytes(blob[8 + size :], "big")
    return ec.EllipticCurvePublicNumbers(x, y, curve).public_key()


def bits_of(key: PublicKey) -> int:
    return 256 if isinstance(key, ed25519.Ed25519PublicKey) else key.key_size


def is_ed25519_signature(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """It has 64 bytes and is right."""
    assert isinstance(key, ed25519.Ed25519PublicKey)
    assert len(signature) == 64
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def is_ecdsa_signature(
    key: PublicKey, signature: bytes, hashed: bytes, algorithm: hashes.HashAlgorithm
) -> bool:
    """It is r and s, each of the curve's size, and right."""
    assert isinstance(key, ec.EllipticCurvePublicKey)
    size = (key.key_size + 7) // 8
    assert len(signature) == 2 * size
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    encoded = utils.encode_dss_signature(r, s)
    try:
        key.verify(encoded, hashed, ec.ECDSA(utils.Prehashed(algorithm)))
    except InvalidSignature:
        return False
    return True


def is_rsa_signature(
    key: PublicKey,
    signature: bytes,
    hashed: bytes,
    algorithm: hashes.HashAlgorithm,
    scheme: padding.AsymmetricPadding,
) -> bool:
    """It has the modulus' length and is right."""
    assert isinstance(key, rsa.RSAPublicKey)
    assert len(signature) == (key.key_size + 7) // 8
    try:
        key.verify(signature, hashed, scheme, utils.Prehashed(algorithm))
    except InvalidSignature:
        return False
    return True
