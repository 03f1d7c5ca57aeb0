"""Messages under HPKE that are carried by hand between a trustlet and where a private key is kept.

Each begins with a version byte, 1.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from keyiso.crypto.hpke import SUITE
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

VERSION: Final = 1


def seal_message(secret: bytes, public_key: bytes, info: bytes) -> bytes:
    """Seal to a public key (X25519, 32 bytes). Raises ``NTE_BAD_DATA`` for what is no such key."""
    try:
        public = X25519PublicKey.from_public_bytes(public_key)
        return bytes([VERSION]) + SUITE.encrypt(secret, public, info)
    except ValueError:
        raise no_public_key() from None


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one kind."""

    longest: int
    """Bytes."""

    def opened(self, data: bytes, key: X25519PrivateKey, info: bytes, what: str) -> bytes:
        """What a message holds. Raises as `body`, and ``NTE_BAD_DATA`` for one that was changed, or
        made for another key or with another ``info``.
        """
        try:
            return SUITE.decrypt(self.body(data, what), key, info)
        except (InvalidTag, ValueError):
            raise unusable(what, "it was made for something else, or changed") from None

    def body(self, data: bytes, what: str) -> bytes:
        """What is behind the version byte. Raises ``NTE_BAD_DATA`` for one that is too long, and
        ``NTE_BAD_VER`` for an unknown version.
        """
        if len(data) > self.longest:
            raise unusable(what, f"it is longer than {self.longest} bytes")
        if data and data[0] != VERSION:
            raise ncrypt_error(
                Status.NTE_BAD_VER, f"the {what} has version {data[0]}; this keyiso reads {VERSION}"
            )
        return data[1:]


def unusable(what: str, why: str) -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, f"the {what} cannot be used: {why}")


def no_public_key() -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, "what should be an X25519 key is none")
