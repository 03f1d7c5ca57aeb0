"""A key of the software provider: draft, ready, or public only."""

from dataclasses import dataclass, field
from typing import Final

from keyiso.client.reference import KeyReference
from keyiso.crypto.algorithms import ALGORITHMS, Algorithm
from keyiso.crypto.ciphers import Mode
from keyiso.crypto.key_header import KeyHeader, Level, Lifetime, Scope
from keyiso.crypto.key_types import PublicKey, bits_of
from keyiso.crypto.public_keys import load_public_key
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_ALLOW_ALL_USAGES,
)
from keyiso.status import Status

DEFAULT_CHAINING_MODE: Final[Mode] = "ChainingModeGCM"
"""CNG's default is CBC, which notices no change of a ciphertext."""


@dataclass(slots=True)
class Draft:
    """What a key is to become; it exists only in the application until it is finalized."""

    scope: Scope
    name: bytes
    """UTF-16-LE; empty for an ephemeral key."""
    overwrite: bool
    algorithm: Algorithm | None
    """None for an import: the key says it."""
    bits: int
    imported: bytes | None = field(default=None, repr=False)
    """An import that waits for its finalizing."""
    usage: int = NCRYPT_ALLOW_ALL_USAGES
    export_policy: int = 0
    level: Level = "software"
    lifetime: Lifetime = "persisted"
    properties: dict[str, bytes] = field(default_factory=dict)
    """What is to be stored with the key."""


class SoftwareKey:
    """What a key handle of the software provider stands for.

    It is a draft, then a reference; or, for an imported public key, only that.
    """

    def __init__(
        self,
        *,
        draft: Draft | None = None,
        reference: KeyReference | None = None,
        public_key: tuple[PublicKey, Algorithm] | None = None,
    ) -> None:
        self.draft = draft
        self.reference = reference
        self.public_key: PublicKey | None = None
        self.chaining_mode = DEFAULT_CHAINING_MODE
        """AES: of this handle, not of the key."""
        self.handle_properties: dict[str, bytes] = {}
        """What belongs to this handle and is never stored."""
        if reference is not None:
            self.become(reference)
        if public_key is not None:
            self.public_key, self._public_algorithm = public_key

    def become(self, reference: KeyReference) -> None:
        """The draft was finalized."""
        self.draft = None
        self.reference = reference
        der = reference.header.public_key
        self.public_key = load_public_key(der) if der else None

    def ready(self) -> KeyReference:
        """The finalized key. Raises ``NTE_BAD_KEY_STATE`` before that."""
        if self.draft is not None:
            raise _not_finalized()
        if self.reference is None:
            raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "this handle has only a public key")
        return self.reference

    def public(self) -> PublicKey:
        """The public key. Raises ``NTE_BAD_KEY_STATE`` before the key is finalized, and
        ``NTE_NOT_SUPPORTED`` for a key that has none.
        """
        if self.public_key is None:
            self.ready()
            raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "an AES key has no public key")
        return self.public_key

    @property
    def level(self) -> Level:
        """What protects the key; a public key needs nothing."""
        if self.draft is not None:
            return self.draft.level
        return "software" if self.header is None else self.header.level

    @property
    def lifetime(self) -> Lifetime:
        if self.draft is not None:
            return self.draft.lifetime
        return "ephemeral" if self.header is None else self.header.lifetime

    @property
    def header(self) -> KeyHeader | None:
        return None if self.reference is None else self.reference.header

    @property
    def algorithm(self) -> Algorithm:
        """The key's algorithm. Raises ``NTE_BAD_KEY_STATE`` for an import not yet finalized."""
        if self.draft is not None:
            if self.draft.algorithm is None:
                raise _not_finalized()
            return self.draft.algorithm
        if self.header is not None:
            return ALGORITHMS[self.header.algorithm]
        return self._public_algorithm

    @property
    def bits(self) -> int:
        """The length. Raises ``NTE_BAD_KEY_STATE`` for an import not yet finalized."""
        if self.draft is not None:
            if self.draft.imported is not None:
                raise _not_finalized()
            return self.draft.bits
        return self.header.bits if self.header is not None else bits_of(self.public())


def _not_finalized() -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_KEY_STATE,
        "the key is not finalized",
        "Call NCryptFinalizeKey first.",
    )
