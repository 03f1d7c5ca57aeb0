"""Hash algorithms by their CNG identifiers (bcrypt.h)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes

from keyiso.errors import ncrypt_error
from keyiso.status import Status

_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = MappingProxyType(
    {
        "SHA1": hashes.SHA1(),  # noqa: S303 (old tokens and certificates still name it)
        "SHA256": hashes.SHA256(),
        "SHA384": hashes.SHA384(),
        "SHA512": hashes.SHA512(),
        "SHA3-256": hashes.SHA3_256(),
        "SHA3-384": hashes.SHA3_384(),
        "SHA3-512": hashes.SHA3_512(),
    }
)

HASH_NAMES: Final = tuple(_HASHES)


def hash_named(name: str) -> hashes.HashAlgorithm:
    """The hash of a CNG identifier. Raises ``NTE_NOT_SUPPORTED`` for another name."""
    try:
        return _HASHES[name]
    except KeyError:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            f"the hash algorithm {name!r:.80} is not supported",
            f"Use one of {', '.join(HASH_NAMES)}.",
        ) from None


def digest(name: str, data: bytes) -> bytes:
    """The hash of the data; ``name`` is a CNG identifier."""
    computation = hashes.Hash(hash_named(name))
    computation.update(data)
    return computation.finalize()
