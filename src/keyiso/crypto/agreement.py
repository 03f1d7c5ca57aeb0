"""Secret agreement and CNG's key derivation functions over the agreed secret.

Z is the shared x-coordinate, big-endian, as long as the curve's field. HASH, HMAC and HKDF work
on Z as it is; TRUNCATE gives Z in little-endian order, as CNG's documentation says.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso import limits
from keyiso.crypto.digests import hash_named
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    KDF_HASH_ALGORITHM,
    KDF_HKDF_INFO,
    KDF_HKDF_SALT,
    KDF_HMAC_KEY,
    KDF_SECRET_APPEND,
    KDF_SECRET_PREPEND,
    KDF_USE_SECRET_AS_HMAC_KEY_FLAG,
)
from keyiso.identifiers import (
    BCRYPT_KDF_HASH,
    BCRYPT_KDF_HKDF,
    BCRYPT_KDF_HMAC,
    BCRYPT_KDF_RAW_SECRET,
)
from keyiso.status import Status

DEFAULT_HASH: Final = "SHA1"
"""What HASH and HMAC use when no hash is named (CNG's default)."""


class KdfParameter(msgspec.Struct, frozen=True, array_like=True):
    """One buffer of a parameter list."""

    kind: int
    """KDF_*."""
    value: bytes


class Derivation(msgspec.Struct, frozen=True, array_like=True):
    """How a key is derived from an agreed secret."""

    kdf: str
    """BCRYPT_KDF_*."""
    parameters: tuple[KdfParameter, ...]
    flags: int
    size: int
    """Bytes that are wanted; 0 for the function's natural size."""


def agree(private: ec.EllipticCurvePrivateKey, public: ec.EllipticCurvePublicKey) -> bytes:
    """Z of two keys of one curve. Raises ``NTE_INVALID_PARAMETER`` for keys of two curves."""
    if private.curve.name != public.curve.name:
        raise _unfit("the two keys are not on the same curve")
    return private.exchange(ec.ECDH(), public)


def derive(secret: bytes, derivation: Derivation) -> bytes:
    """The derived key.

    Raises ``NTE_NOT_SUPPORTED`` for an unknown function, ``NTE_INVALID_PARAMETER`` for
    parameters that it does not take.
    """
    known = _FUNCTIONS.get(derivation.kdf)
    if known is None:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            f"the key derivation function {derivation.kdf!r:.80} is not supported",
            f"Use one of {', '.join(_FUNCTIONS)}.",
        )
    allowed, function = known
    for parameter in derivation.parameters:
        if parameter.kind not in allowed:
            raise _unfit(f"{derivation.kdf} takes no parameter of type {parameter.kind}")
    if not 0 <= derivation.size <= limits.DERIVED_KEY_BYTES:
        raise _unfit(f"a derived key has at most {limits.DERIVED_KEY_BYTES} bytes")
    return function(secret, derivation)


def _hash(secret: bytes, derivation: Derivation) -> bytes:
    _refuse_flags(derivation, 0)
    computation = hashes.Hash(_hash_of(derivation))
    computation.update(_surrounded(secret, derivation))
    return _cut(computation.finalize(), derivation)


def _hmac(secret: bytes, derivation: Derivation) -> bytes:
    _refuse_flags(derivation, KDF_USE_SECRET_AS_HMAC_KEY_FLAG)
    key = _one(derivation, KDF_HMAC_KEY)
    if derivation.flags & KDF_USE_SECRET_AS_HMAC_KEY_FLAG:
        if key is not None:
            raise _unfit("the secret is the HMAC key: a second one cannot be given")
        key = secret
    computation = hmac.HMAC(key or b"", _hash_of(derivation))
    computation.update(_surrounded(secret, derivation))
    return _cut(computation.finalize(), derivation)


def _hkdf(secret: bytes, derivation: Derivation) -> bytes:
    _refuse_flags(derivation, 0)
    algorithm = _hash_of(derivation)
    size = derivation.size or algorithm.digest_size
    if size > 255 * algorithm.digest_size:
        raise _unfit(f"HKDF gives at most {255 * algorithm.digest_size} bytes with this hash")
    salt, info = _one(derivation, KDF_HKDF_SALT), _one(derivation, KDF_HKDF_INFO)
    return HKDF(algorithm, size, salt=salt, info=info).derive(secret)


def _truncate(secret: bytes, derivation: Derivation) -> bytes:
    _refuse_flags(derivation, 0)
    return _cut(secret[::-1], derivation)


_Function = Callable[[bytes, Derivation], bytes]

_FUNCTIONS: Final[Mapping[str, tuple[frozenset[int], _Function]]] = MappingProxyType(
    {
        BCRYPT_KDF_HASH: (
            frozenset({KDF_HASH_ALGORITHM, KDF_SECRET_PREPEND, KDF_SECRET_APPEND}),
            _hash,
        ),
        BCRYPT_KDF_HMAC: (
            frozenset({KDF_HASH_ALGORITHM, KDF_SECRET_PREPEND, KDF_SECRET_APPEND, KDF_HMAC_KEY}),
            _hmac,
        ),
        BCRYPT_KDF_HKDF: (frozenset({KDF_HASH_ALGORITHM, KDF_HKDF_SALT, KDF_HKDF_INFO}), _hkdf),
        BCRYPT_KDF_RAW_SECRET: (frozenset(), _truncate),
    }
)


def _hash_of(derivation: Derivation) -> hashes.HashAlgorithm:
    name = _one(derivation, KDF_HASH_ALGORITHM)
    if name is None:
        return hash_named(DEFAULT_HASH)
    try:
        return hash_named(name.decode("utf-16-le").removesuffix("\0"))
    except UnicodeDecodeError:
        raise _unfit("the hash's name is not UTF-16") from None


def _surrounded(secret: bytes, derivation: Derivation) -> bytes:
    """Prepends, Z, appends: any number of each, in the list's order."""
    before = _all(derivation, KDF_SECRET_PREPEND)
    after = _all(derivation, KDF_SECRET_APPEND)
    return b"".join((*before, secret, *after))


def _all(derivation: Derivation, kind: int) -> Iterable[bytes]:
    return (entry.value for entry in derivation.parameters if entry.kind == kind)


def _one(derivation: Derivation, kind: int) -> bytes | None:
    values = tuple(_all(derivation, kind))
    if len(values) > 1:
        raise _unfit(f"the parameter of type {kind} is given more than once")
    return values[0] if values else None


def _cut(value: bytes, derivation: Derivation) -> bytes:
    """CNG gives as much as there is, and no more than was asked for."""
    return value[: derivation.size] if derivation.size else value


def _refuse_flags(derivation: Derivation, allowed: int) -> None:
    if derivation.flags & ~allowed:
        raise ncrypt_error(
            Status.NTE_BAD_FLAGS, f"{derivation.kdf} does not take the flags {derivation.flags:#x}"
        )


def _unfit(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, cause)
