"""The algorithms that keyiso knows, as one table (CNG algorithm identifiers, bcrypt.h)."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import limits
from keyiso.errors import ncrypt_error
from keyiso.flags import (
    NCRYPT_ASYMMETRIC_ENCRYPTION_INTERFACE,
    NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION,
    NCRYPT_CIPHER_INTERFACE,
    NCRYPT_CIPHER_OPERATION,
    NCRYPT_SECRET_AGREEMENT_INTERFACE,
    NCRYPT_SECRET_AGREEMENT_OPERATION,
    NCRYPT_SIGNATURE_INTERFACE,
    NCRYPT_SIGNATURE_OPERATION,
)
from keyiso.status import Status

Family = Literal["rsa", "ecdsa", "ecdh", "ed25519", "aes"]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Key lengths in bits: NCRYPT_SUPPORTED_LENGTHS."""

    minimum: int
    maximum: int
    increment: int
    default: int

    def __contains__(self, bits: int) -> bool:
        if not self.minimum <= bits <= self.maximum:
            return False
        return not self.increment or (bits - self.minimum) % self.increment == 0


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What CNG says of one algorithm identifier."""

    name: str
    group: str
    family: Family
    interface: int
    """dwClass of NCryptAlgorithmName."""
    operations: int
    """dwAlgOperations of NCryptAlgorithmName."""
    lengths: Lengths
    loaded_bytes: int
    """Memory of a loaded key, measured."""
    slow_to_generate: bool = False
    """Generating takes longer than 20 ms: it runs in the generator worker."""
    curve: type[ec.EllipticCurve] | None = None


def takes_long_to_generate(algorithm: str, bits: int) -> bool:
    """A key that others should not wait behind while it is made; RSA-16384 takes a minute."""
    known = ALGORITHMS.get(algorithm)
    return known is not None and known.slow_to_generate and bits > limits.SHORT_RSA_BITS


def _rsa() -> Algorithm:
    return Algorithm(
        name="RSA",
        group="RSA",
        family="rsa",
        interface=NCRYPT_ASYMMETRIC_ENCRYPTION_INTERFACE,
        operations=NCRYPT_ASYMMETRIC_ENCRYPTION_OPERATION | NCRYPT_SIGNATURE_OPERATION,
        lengths=Lengths(1024, 16384, 8, 2048),
        loaded_bytes=limits.LOADED_RSA_BYTES,
        slow_to_generate=True,
    )


def _ecdsa(bits: int, curve: type[ec.EllipticCurve]) -> Algorithm:
    return Algorithm(
        name=f"ECDSA_P{bits}",
        group="ECDSA",
        family="ecdsa",
        interface=NCRYPT_SIGNATURE_INTERFACE,
        operations=NCRYPT_SIGNATURE_OPERATION,
        lengths=Lengths(bits, bits, 0, bits),
        loaded_bytes=limits.LOADED_EC_BYTES,
        curve=curve,
    )


def _ecdh(bits: int, curve: type[ec.EllipticCurve]) -> Algorithm:
    return Algorithm(
        name=f"ECDH_P{bits}",
        group="ECDH",
        family="ecdh",
        interface=NCRYPT_SECRET_AGREEMENT_INTERFACE,
        operations=NCRYPT_SECRET_AGREEMENT_OPERATION,
        lengths=Lengths(bits, bits, 0, bits),
        loaded_bytes=limits.LOADED_EC_BYTES,
        curve=curve,
    )


def _ed25519() -> Algorithm:
    """CNG has no identifier for it: name, group and blob are keyiso's own."""
    return Algorithm(
        name="ED25519",
        group="EDDSA",
        family="ed25519",
        interface=NCRYPT_SIGNATURE_INTERFACE,
        operations=NCRYPT_SIGNATURE_OPERATION,
        lengths=Lengths(256, 256, 0, 256),
        loaded_bytes=limits.LOADED_EC_BYTES,
    )


def _aes() -> Algorithm:
    return Algorithm(
        name="AES",
        group="AES",
        family="aes",
        interface=NCRYPT_CIPHER_INTERFACE,
        operations=NCRYPT_CIPHER_OPERATION,
        lengths=Lengths(128, 256, 64, 256),
        loaded_bytes=limits.LOADED_EC_BYTES,
    )


_CURVES: Final = ((256, ec.SECP256R1), (384, ec.SECP384R1), (521, ec.SECP521R1))

ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (
            _rsa(),
            *(_ecdsa(bits, curve) for bits, curve in _CURVES),
            *(_ecdh(bits, curve) for bits, curve in _CURVES),
            _ed25519(),
            _aes(),
        )
    }
)
"""Every algorithm by its identifier, in the order of enumeration."""


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of an identifier. Raises ``NTE_NOT_SUPPORTED`` for another name."""
    try:
        return ALGORITHMS[name]
    except (KeyError, TypeError):
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            f"the algorithm {name!r:.80} is not supported",
            f"Use one of {', '.join(ALGORITHMS)}.",
        ) from None


def algorithm_of_curve(curve: ec.EllipticCurve, group: str) -> Algorithm:
    """The algorithm of a named curve in a group (ECDSA or ECDH).

    Raises ``NTE_NOT_SUPPORTED`` for another curve.
    """
    for algorithm in ALGORITHMS.values():
        if algorithm.group == group and algorithm.curve and algorithm.curve().name == curve.name:
            return algorithm
    raise ncrypt_error(
        Status.NTE_NOT_SUPPORTED,
        f"keys on the curve {curve.name} are not supported",
        "Use P-256, P-384 or P-521.",
    )


def check_length(algorithm: Algorithm, bits: int) -> None:
    """Raise ``NTE_NOT_SUPPORTED`` for a length in bits that the algorithm does not have."""
    if bits not in algorithm.lengths:
        known = algorithm.lengths
        allowed = (
            f"{known.minimum}"
            if known.minimum == known.maximum
            else f"{known.minimum} to {known.maximum} in steps of {known.increment}"
        )
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            f"{algorithm.name} has no keys of {bits} bits",
            f"Use {allowed}.",
        )
