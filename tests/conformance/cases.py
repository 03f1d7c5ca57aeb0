"""The algorithms and scopes that conformance tests run over, and how a key of each is made."""

from dataclasses import dataclass
from enum import Enum

from keyiso import ncrypt
from keyiso.flags import NCRYPT_MACHINE_KEY_FLAG
from keyiso.identifiers import NCRYPT_LENGTH_PROPERTY
from tests.conformance.independent import digest, dword

SHA256_DIGEST = digest("SHA256")


@dataclass(frozen=True)
class Algorithm:
    """An algorithm identifier and a length, and what follows from them."""

    identifier: str
    group: str
    bits: int
    lengths: tuple[int, int, int, int]
    """NCRYPT_SUPPORTED_LENGTHS: least, most, increment, default."""
    signature_bytes: int

    def __str__(self) -> str:
        return f"{self.identifier}-{self.bits}" if self.group == "RSA" else self.identifier

    @property
    def padding(self) -> ncrypt.PaddingInfo:
        """What signing a SHA-256 hash needs: PKCS #1 for RSA, nothing for ECDSA."""
        return ncrypt.BCRYPT_PKCS1_PADDING_INFO("SHA256") if self.group == "RSA" else None

    @property
    def padding_flag(self) -> int:
        return 2 if self.group == "RSA" else 0

    def sign(self, key: ncrypt.NCryptKeyHandle) -> bytes:
        """A signature over `SHA256_DIGEST`."""
        return ncrypt.NCryptSignHash(key, self.padding, SHA256_DIGEST, self.padding_flag)

    def verify(self, key: ncrypt.NCryptKeyHandle, signature: bytes) -> None:
        """By NCrypt; raises when it is not one over `SHA256_DIGEST`."""
        ncrypt.NCryptVerifySignature(key, self.padding, SHA256_DIGEST, signature, self.padding_flag)


_RSA_LENGTHS = (1024, 16384, 8, 2048)

RSA_2048 = Algorithm("RSA", "RSA", 2048, _RSA_LENGTHS, 256)
RSA_3072 = Algorithm("RSA", "RSA", 3072, _RSA_LENGTHS, 384)
RSA_4096 = Algorithm("RSA", "RSA", 4096, _RSA_LENGTHS, 512)
ECDSA_P256 = Algorithm("ECDSA_P256", "ECDSA", 256, (256, 256, 0, 256), 64)
ECDSA_P384 = Algorithm("ECDSA_P384", "ECDSA", 384, (384, 384, 0, 384), 96)
ECDSA_P521 = Algorithm("ECDSA_P521", "ECDSA", 521, (521, 521, 0, 521), 132)
ED25519 = Algorithm("ED25519", "EDDSA", 256, (256, 256, 0, 256), 64)
"""keyiso's own identifier. It signs messages: here the digest is one."""

RSA = (RSA_2048, RSA_3072)
"""RSA-4096 is left out: a key of it takes a second to make, and has a test of its own."""
ECDSA = (ECDSA_P256, ECDSA_P384, ECDSA_P521)
ALGORITHMS = (*RSA, *ECDSA, ED25519)
"""All that sign."""


class Kind(Enum):
    """Where a key lives."""

    EPHEMERAL = "ephemeral"
    USER = "user"
    MACHINE = "machine"

    @property
    def flag(self) -> int:
        return NCRYPT_MACHINE_KEY_FLAG if self is Kind.MACHINE else 0

    def key_name(self, name: str) -> str | None:
        return None if self is Kind.EPHEMERAL else name

    def __str__(self) -> str:
        return self.value


PERSISTED = (Kind.USER, Kind.MACHINE)


def begin(
    provider: ncrypt.NCryptProvHandle,
    algorithm: Algorithm = ECDSA_P256,
    name: str | None = None,
    flags: int = 0,
) -> ncrypt.NCryptKeyHandle:
    """A key that is not finalized yet, of the length that the algorithm says."""
    key = ncrypt.NCryptCreatePersistedKey(provider, algorithm.identifier, name, 0, flags)
    if algorithm.bits != algorithm.lengths[3]:
        ncrypt.NCryptSetProperty(key, NCRYPT_LENGTH_PROPERTY, dword(algorithm.bits))
    return key


def make(
    provider: ncrypt.NCryptProvHandle,
    algorithm: Algorithm = ECDSA_P256,
    name: str | None = None,
    flags: int = 0,
) -> ncrypt.NCryptKeyHandle:
    """A key that is finalized."""
    key = begin(provider, algorithm, name, flags)
    ncrypt.NCryptFinalizeKey(key)
    return key
