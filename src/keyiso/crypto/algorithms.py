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
    NCRYPT_SIGNATURE_INTERFACE,
    NCRYPT_SIGNATURE_OPERATION,
)
from keyiso.status import Status

Family = Literal["rsa", "ecdsa"]


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
    slow_to_generate: bool
    """Generating takes longer than 20 ms: it runs in the generator worker."""
    loaded_bytes: int
    """Memory of a loaded key, measured."""
    curve: type[ec.EllipticCurve] | None = None


def _rsa() -> Algorithm:
    return Algorithm(
        name="RSA",
        group="RSA",
        family="rsa",
        interface=NCRYPT_ASYMMETRIC_ENCRYPTION_INTERFACE,
        operations=NCRYPT_SIGNATURE_OPERATION,
        lengths=Lengths(2048, 4096, 8, 2048),
        slow_to_generate=True,
        loaded_bytes=limits.LOADED_RSA_BYTES,
    )


def _ecdsa(bits: int, curve: type[ec.EllipticCurve]) -> Algorithm:
    return Algorithm(
        name=f"ECDSA_P{bits}",
        group="ECDSA",
        family="ecdsa",
        interface=NCRYPT_SIGNATURE_INTERFACE,
        operations=NCRYPT_SIGNATURE_OPERATION,
        lengths=Lengths(bits, bits, 0, bits),
        slow_to_generate=False,
        loaded_bytes=limits.LOADED_EC_BYTES,
        curve=curve,
    )


ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (
            _rsa(),
            _ecdsa(256, ec.SECP256R1),
            _ecdsa(384, ec.SECP384R1),
            _ecdsa(521, ec.SECP521R1),
        )
    }
)
"""Every algorithm by its CNG identifier, in the order of enumeration."""


def algorithm_named(name: str) -> Algorithm:
    """The algorithm of a CNG identifier. Raises ``NTE_NOT_SUPPORTED`` for another name."""
    try:
        return ALGORITHMS[name]
    except (KeyError, TypeError):
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            f"the algorithm {name!r:.80} is not supported",
            f"Use one of {', '.join(ALGORITHMS)}.",
        ) from None


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
