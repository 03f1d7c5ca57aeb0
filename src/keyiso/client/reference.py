"""What a client keeps of a key, so that no restart can make its handle stale.

A reference is a value: provider, scope, name, key id and fingerprint; for an ephemeral key its
sealed blob. The server's numbers (channel, slot) are a cache of it, kept by the channel.
"""

from dataclasses import dataclass, field

from keyiso.crypto.key_header import KeyHeader, Scope
from keyiso.crypto.public_keys import fingerprint


@dataclass(frozen=True, slots=True)
class KeyLocation:
    """Where a persisted key is found."""

    provider: str
    scope: Scope
    name: bytes
    """UTF-16-LE."""


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class KeyReference:
    """One key, proven to be the same each time it is opened again."""

    header: KeyHeader
    """As authenticated by the trustlet when the key was first opened."""
    location: KeyLocation | None
    """None for an ephemeral key."""
    blob: bytes = field(default=b"", repr=False)
    """An ephemeral key's sealed blob."""
    fingerprint: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", fingerprint(self.header.public_key))

    def names_the_same_key(self, header: KeyHeader) -> bool:
        """Another header is one of the very same key."""
        return (
            header.key_id == self.header.key_id
            and fingerprint(header.public_key) == self.fingerprint
        )
