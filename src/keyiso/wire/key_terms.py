"""What a key is to become: the client's terms, and what the KeyIso service adds."""

from keyiso.crypto.key_header import AccessEntry, Level, Lifetime, Scope
from keyiso.wire.messages import Result


class KeyTerms(Result, frozen=True, array_like=True):
    """What a client asks a new key to be."""

    operation_id: bytes
    """Random, 16 bytes: a repeat after a lost answer returns the first result."""
    provider: str
    scope: Scope
    owner: int
    """The caller's uid as `Bound` told it; another one is refused."""
    name: bytes
    """UTF-16-LE; empty for an ephemeral key."""
    lifetime: Lifetime
    algorithm: str
    """Empty for an import that says it itself; "AES" for one that is only bytes."""
    bits: int
    """0 for an import."""
    usage: int
    export_policy: int
    overwrite: bool
    level: Level = "software"
    """What protects it; the worker that makes it has this level, or refuses."""


class KeyProperty(Result, frozen=True, array_like=True):
    """A property that a new key is to have from its beginning."""

    name: bytes
    """UTF-16-LE."""
    value: bytes


class KeyGrant(Result, frozen=True, array_like=True):
    """What the KeyIso service adds to the terms: who may use the key, and its generation."""

    access: tuple[AccessEntry, ...]
    generation: int
    client_group: bytes
    """SHA-256 of the client's secret for an ephemeral key; empty otherwise."""
