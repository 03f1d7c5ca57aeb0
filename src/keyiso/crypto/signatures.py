"""Signatures over hashes in CNG's formats.

RSA signatures are the modulus' length in big-endian bytes. ECDSA signatures are r and s, each as
long as the curve's field (32, 48 or 66 bytes), without DER.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from keyiso import limits
from keyiso.crypto.digests import hash_named
from keyiso.crypto.key_types import PrivateKey, PublicKey
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

_ECDSA: Final = {
    algorithm.digest_size: ec.ECDSA(utils.Prehashed(algorithm))
    for algorithm in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
}
"""By the length of the hash; which hash it was means nothing to ECDSA."""

_SCHEMES_KEPT: Final = 64
"""Paddings that are kept ready: one key is used with one or two of them."""


def sign_digest(key: PrivateKey, digest: bytes, pad: Padding) -> bytes:
    """Sign a hash of at most 64 bytes (or, for raw PKCS #1, a DigestInfo).

    Ed25519 signs a whole message instead (PureEdDSA, RFC 8032), of at most ``MESSAGE_BYTES``.
    Raises ``NTE_INVALID_PARAMETER`` where padding, hash and key do not fit each other, and
    ``NTE_BAD_ALGID`` for a key that cannot sign.
    """
    return _signer(type(key))(key, digest, pad)  # type: ignore[arg-type] # a type is hashable


@functools.cache
def _signer(kind: type) -> Callable[[Any, bytes, Padding], bytes]:
    """How keys of a class sign. Asked once: isinstance of an abstract class takes long."""
    if issubclass(kind, ed25519.Ed25519PrivateKey):
        return _sign_ed25519
    if issubclass(kind, rsa.RSAPrivateKey):
        return _sign_rsa
    if issubclass(kind, ec.EllipticCurvePrivateKey):
        return _sign_ecdsa
    raise ncrypt_error(Status.NTE_BAD_ALGID, "an AES key does not sign")


def _sign_ed25519(key: ed25519.Ed25519PrivateKey, message: bytes, pad: Padding) -> bytes:
    if pad != NO_PADDING:
        raise _no_padding()
    _check_message(message)
    return key.sign(message)


def _sign_rsa(key: rsa.RSAPrivateKey, digest: bytes, pad: Padding) -> bytes:
    scheme, prehashed = _rsa_padding(key.key_size, digest, pad)
    try:
        return key.sign(digest, scheme, prehashed)
    except ValueError:
        raise _unfit("the modulus is too short for this hash and salt") from None


def _sign_ecdsa(key: ec.EllipticCurvePrivateKey, digest: bytes, pad: Padding) -> bytes:
    if pad != NO_PADDING:
        raise _no_padding()
    size = (key.key_size + 7) // 8
    number = _ecdsa_number(digest, size)
    return ecdsa_from_der(key.sign(number, _ECDSA[len(number)]), size)


def ecdsa_from_der(signature: bytes, size: int) -> bytes:
    """r and s, each of so many bytes, from the DER that a library made of them.

    DER's INTEGERs are as short as they can be, with a zero byte before a first bit that is set.
    """
    start = 4 if signature[1] < 0x80 else 5  # P-521: the length itself has a length
    end = start + signature[start - 1]
    r, s = signature[start:end], signature[end + 2 :]
    return r[-size:].rjust(size, b"\0") + s[-size:].rjust(size, b"\0")


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
            if pad != NO_PADDING:
                raise _no_padding()
            _check_message(digest)
            key.verify(signature, digest)
        else:
            if pad != NO_PADDING:
                raise _no_padding()
            size = _field_bytes(key.curve)
            number = _ecdsa_number(digest, size)
            r, s = (int.from_bytes(part, "big") for part in (signature[:size], signature[size:]))
            key.verify(utils.encode_dss_signature(r, s), number, _ECDSA[len(number)])
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
    scheme, prehashed, size = _rsa_scheme(pad)
    if len(digest) != size:
        raise _unfit(f"a {pad.hash_name} hash has {size} bytes, not {len(digest)}")
    return scheme, prehashed


@functools.lru_cache(_SCHEMES_KEPT)
def _rsa_scheme(pad: Padding) -> tuple[padding.AsymmetricPadding, utils.Prehashed, int]:
    """Padding and hash as `cryptography` has them, and the hash's length in bytes."""
    if pad.scheme not in (BCRYPT_PAD_PKCS1, BCRYPT_PAD_PSS):
        raise _unfit("an RSA signature needs a padding: PKCS #1 or PSS")
    try:
        algorithm = hash_named(pad.hash_name)
    except NCryptError as error:
        raise _unfit(error.cause) from None
    prehashed = utils.Prehashed(algorithm)
    if pad.scheme == BCRYPT_PAD_PKCS1:
        return padding.PKCS1v15(), prehashed, algorithm.digest_size
    if not 0 <= pad.salt_bytes <= limits.SALT_BYTES:
        raise _unfit(f"a salt has 0 to {limits.SALT_BYTES} bytes")
    scheme = padding.PSS(padding.MGF1(algorithm), pad.salt_bytes)
    return scheme, prehashed, algorithm.digest_size


def _no_padding() -> NCryptError:
    return _unfit("this key has no padding: pass no padding information and no padding flag")


def _check_message(message: bytes) -> None:
    if len(message) > limits.MESSAGE_BYTES:
        raise _unfit(f"a message has at most MESSAGE_BYTES ({limits.MESSAGE_BYTES}) bytes here")


def _ecdsa_number(digest: bytes, field_bytes: int) -> bytes:
    """The hash as FIPS 186-5 reads it: its leftmost bits, as a number of the curve's size."""
    if not 0 < len(digest) <= limits.DIGEST_BYTES:
        raise _unfit(f"a hash has 1 to {limits.DIGEST_BYTES} bytes, not {len(digest)}")
    size = min(field_bytes, limits.DIGEST_BYTES)
    return digest[:size].rjust(size, b"\0")


def _field_bytes(curve: ec.EllipticCurve) -> int:
    return (curve.key_size + 7) // 8


def _unfit(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, cause)
