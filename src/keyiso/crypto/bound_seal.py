"""Bytes that are sealed for one purpose and bound to ids: AES-256-GCM under HKDF(secret, ids).

Layout: version (1 byte, 1), ids, nonce (12 bytes), ciphertext with its tag (16 bytes). Whoever
opens them says which purpose and ids he expects; the version and the ids are associated data.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

VERSION: Final = 1
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class BoundSeal:
    """A purpose. Nothing that was sealed for one purpose opens for another."""

    what: str
    """What is sealed, for errors and for the key: ``PIN history``."""
    most_bytes: int
    """The longest that is sealed."""
    action: str
    """What to do about one that does not open."""

    def overhead(self, ids: bytes) -> int:
        """What sealing adds to the bytes."""
        return 1 + len(ids) + _NONCE_BYTES + _TAG_BYTES

    def seal(
        self,
        secret: bytes,
        ids: bytes,
        plain: bytes,
        *,
        random: Callable[[int], bytes] = os.urandom,
    ) -> bytes:
        """The sealed bytes. ``ids`` have one length for one purpose.

        Raises ``KEYISO_E_LIMIT`` for more than ``most_bytes``.
        """
        if len(plain) > self.most_bytes:
            raise ncrypt_error(
                Status.KEYISO_E_LIMIT,
                f"the {self.what} has {len(plain)} bytes; {self.most_bytes} are allowed",
            )
        nonce = random(_NONCE_BYTES)
        head = bytes([VERSION]) + ids
        return head + nonce + self._cipher(secret, ids).encrypt(nonce, plain, head)

    def open(self, secret: bytes, ids: bytes, sealed: bytes) -> bytes:
        """What was sealed for this purpose and these ids.

        Raises ``NTE_BAD_DATA`` for anything else, ``NTE_BAD_VER`` for an unknown version.
        """
        if sealed[:1] != bytes([VERSION]):
            if not sealed:
                raise self.damaged("it is empty")
            raise ncrypt_error(
                Status.NTE_BAD_VER,
                f"the {self.what} has version {sealed[0]}; this keyiso reads version {VERSION}",
                "Use the keyiso that wrote it, or a newer one.",
            )
        overhead = self.overhead(ids)
        if not overhead <= len(sealed) <= overhead + self.most_bytes:
            raise self.damaged("its length is wrong")
        head, rest = sealed[: 1 + len(ids)], sealed[1 + len(ids) :]
        if head[1:] != ids:
            raise self.damaged("it belongs to something else")
        nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
        try:
            return self._cipher(secret, ids).decrypt(nonce, ciphertext, head)
        except InvalidTag:
            raise self.damaged("it was changed, or another secret sealed it") from None

    def damaged(self, cause: str) -> NCryptError:
        """The error for one that does not open."""
        return ncrypt_error(
            Status.NTE_BAD_DATA, f"the {self.what} cannot be opened: {cause}", self.action
        )

    def _cipher(self, secret: bytes, ids: bytes) -> AESGCM:
        info = f"keyiso {self.what} {VERSION}".encode()
        return AESGCM(HKDF(hashes.SHA256(), 32, salt=ids, info=info).derive(secret))
