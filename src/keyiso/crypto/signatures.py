"""Signatures over hashes in CNG's formats.

RSA signatures are the modulus' length in big-endian bytes. ECDSA signatures are r and s, each as
long as the curve's field (32, 48 or 66 bytes), without DER.
"""

from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from keyiso import limits
from keyiso.crypto.digests import hash_named
from keyiso.crypto.key_types import PrivateKey, PublicKey, SymmetricKey
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import BCRYPT_PAD_PKCS1, BCRYPT_PAD_PSS
from keyiso.status import Status


class Padding(msgspec.Struct, frozen=True, array_like=True):
    """How a hash is padded before RSA signs it; all zero for algorithms without padding."""

    scheme: int = 0
    """0, BCRYPT_PAD_PKCS1 (2) or BCRYPT_PAD_PSS (8)."""
    hash_name: str = ""
    """CNG identifier; empty with PKCS #1: the caller made the DigestInfo itself."""
    salt_bytes: int = 0
    """PSS only."""


NO_PADDING: Final = Padding()

_ECDSA_HASHES: Final = {32: hashes.SHA256(), 48: hashes.SHA384(), 64: hashes.SHA512()}


def sign_digest(key: PrivateKey, digest: bytes, pad: Padding) -> bytes:
    """Sign a hash of at most 64 bytes (or, for raw PKCS #1, a DigestInfo).

    Ed25519 signs a whole message instead (PureEdDSA, RFC 8032), of at most ``MESSAGE_BYTES``.
    Raises ``NTE_INVALID_PARAMETER`` where padding, hash and key do not fit each other, and
    ``NTE_BAD_ALGID`` for a key that cannot sign.
    """
    if isinstance(key, SymmetricKey):
        raise ncrypt_error(Status.NTE_BAD_ALGID, "an AES key does not sign")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        _refuse_padding(pad)
        _check_message(digest)
        return key.sign(digest)
    if isinstance(key, rsa.RSAPrivateKey):
        scheme, prehashed = _rsa_padding(key.key_size, digest, pad)
        try:
            return key.sign(digest, scheme, prehashed)
        except ValueError:
            raise _unfit("the modulus is too short for this hash and salt") from None
    _refuse_padding(pad)
    size = _field_bytes(key.curve)
    number, prehashed = _ecdsa_number(digest, size)
    r, s = utils.decode_dss_signature(key.sign(number, ec.ECDSA(prehashed)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def verify_digest(key: PublicKey, digest: bytes, signature: bytes, pad: Padding) -> None:
    """Check a signature over a hash.

    Raises ``NTE_BAD_SIGNATURE`` when it is not one of this key over this hash, and
    ``NTE_INVALID_PARAMETER`` where padding, hash, key and the signature's length do not fit.
    """
    if len(signature) != signature_bytes(key):
        raise _unfit(f"a signature of this key has {signature_bytes(key)} bytes")
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _verify_rsa(key, digest, signature, pad)
        elif isinstance(key, ed25519.Ed25519PublicKey):
            _refuse_padding(pad)
            _check_message(digest)
            key.verify(signature, digest)
        else:
            _refuse_padding(pad)
            size = _field_bytes(key.curve)
            number, prehashed = _ecdsa_number(digest, size)
            r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
            key.verify(utils.encode_dss_signature(r, s), number, ec.ECDSA(prehashed))
    except InvalidSignature:
        raise ncrypt_error(
            Status.NTE_BAD_SIGNATURE, "the signature is not one of this key over this hash"
        ) from None
    except ValueError:
        raise _unfit("the modulus is too short for this hash and salt") from None


def _verify_rsa(key: rsa.RSAPublicKey, digest: bytes, signature: bytes, pad: Padding) -> None:
    scheme, prehashed = _rsa_padding(key.key_size, digest, pad)
    if isinstance(prehashed, utils.Prehashed):
        key.verify(signature, digest, scheme, prehashed)
    elif key.recover_data_from_signature(signature, scheme, None) != digest:
        raise InvalidSignature


def signature_bytes(key: PublicKey) -> int:
    """The length of this key's signatures in bytes."""
    if isinstance(key, rsa.RSAPublicKey):
        return (key.key_size + 7) // 8
    if isinstance(key, ed25519.Ed25519PublicKey):
        return 64
    return 2 * _field_bytes(key.curve)


def _rsa_padding(
    modulus_bits: int, digest: bytes, pad: Padding
) -> tuple[padding.AsymmetricPadding, utils.Prehashed | utils.NoDigestInfo]:
    if pad.scheme == BCRYPT_PAD_PKCS1 and not pad.hash_name:
        if not 0 < len(digest) <= (modulus_bits + 7) // 8 - 11:
            raise _unfit("the DigestInfo is empty or too long for the modulus")
        return padding.PKCS1v15(), utils.NoDigestInfo()
    if pad.scheme not in (BCRYPT_PAD_PKCS1, BCRYPT_PAD_PSS):
        raise _unfit("an RSA signature needs a padding: PKCS #1 or PSS")
    try:
        algorithm = hash_named(pad.hash_name)
    except NCryptError as error:
        raise _unfit(error.cause) from None
    if len(digest) != algorithm.digest_size:
        raise _unfit(f"a {pad.hash_name} hash has {algorithm.digest_size} bytes, not {len(digest)}")
    prehashed = utils.Prehashed(algorithm)
    if pad.scheme == BCRYPT_PAD_PKCS1:
        return padding.PKCS1v15(), prehashed
    if not 0 <= pad.salt_bytes <= limits.SALT_BYTES:
        raise _unfit(f"a salt has 0 to {limits.SALT_BYTES} bytes")
    return padding.PSS(padding.MGF1(algorithm), pad.salt_bytes), prehashed


def _refuse_padding(pad: Padding) -> None:
    if pad != NO_PADDING:
        raise _unfit("this key has no padding: pass no padding information and no padding flag")


def _check_message(message: bytes) -> None:
    if len(message) > limits.MESSAGE_BYTES:
        raise _unfit(f"a message has at most MESSAGE_BYTES ({limits.MESSAGE_BYTES}) bytes here")


def _ecdsa_number(digest: bytes, field_bytes: int) -> tuple[bytes, utils.Prehashed]:
    """The hash as FIPS 186-5 reads it: its leftmost bits, as a number of the curve's size."""
    if not 0 < len(digest) <= limits.DIGEST_BYTES:
        raise _unfit(f"a hash has 1 to {limits.DIGEST_BYTES} bytes, not {len(digest)}")
    size = min(field_bytes, limits.DIGEST_BYTES)
    return digest[:size].rjust(size, b"\0"), utils.Prehashed(_ECDSA_HASHES[size])


def _field_bytes(curve: ec.EllipticCurve) -> int:
    return (curve.key_size + 7) // 8


def _unfit(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, cause)
