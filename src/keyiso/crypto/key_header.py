"""What a sealed key says of itself, authenticated by the root that seals it.

Nothing else is believed about a key: not the row of the store, not the KeyIso service. Usage
and export policy are enforced from here by the trustlet, access by the KeyIso service.
"""

import enum
from typing import Final, Literal

import msgspec

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.names import check_name
from keyiso.status import Status

Scope = Literal["user", "machine"]
Lifetime = Literal["persisted", "per-boot", "ephemeral"]
Origin = Literal["generated", "imported-sealed", "imported"]
Level = Literal["software", "vbs", "hardware"]
RootKind = Literal["machine", "boot"]
PrincipalKind = Literal["uid", "gid", "unit", "executable"]


class Right(enum.IntFlag):
    """What an access list can allow."""

    USE = 1
    """Open the key and operate with it."""
    MANAGE = 2
    """Delete it, overwrite it, change its properties."""
    ALL = 3


class AccessEntry(msgspec.Struct, frozen=True, array_like=True):
    """One line of an access list: these rights for this principal. There is no denial."""

    kind: PrincipalKind
    principal: str
    """A number for uid and gid, a systemd unit's name, an executable's absolute path."""
    rights: int


class KeyHeader(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The authenticated header of a key blob."""

    root_id: bytes
    """Which root seals the key, 16 bytes."""
    root_kind: RootKind
    provider: str
    scope: Scope
    owner: int
    """The uid that created the key."""
    name: bytes
    """UTF-16-LE; empty for an ephemeral key."""
    key_id: bytes
    """Random, 16 bytes: another key under the same name has another id."""
    origin: Origin
    level: Level
    lifetime: Lifetime
    algorithm: str
    """CNG identifier."""
    bits: int
    public_key: bytes
    """DER SubjectPublicKeyInfo."""
    usage: int
    """NCRYPT_KEY_USAGE_PROPERTY."""
    export_policy: int
    """NCRYPT_EXPORT_POLICY_PROPERTY."""
    access: tuple[AccessEntry, ...]
    generation: int
    """Counts the changes of this name's key, from 1."""
    client_group: bytes = b""
    """SHA-256 of the secret that an ephemeral key's client knows; empty for a persisted key."""
    container_id: bytes = b""
    """The Passport container, 16 bytes, whose secret wraps the key besides; empty for none."""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(KeyHeader)


def encode_header(header: KeyHeader) -> bytes:
    """The header's bytes. Raises ``KEYISO_E_LIMIT`` above ``KEY_HEADER_BYTES``."""
    data = _ENCODER.encode(header)
    if len(data) > limits.KEY_HEADER_BYTES:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT,
            f"the key's header has {len(data)} bytes;"
            f" KEY_HEADER_BYTES is {limits.KEY_HEADER_BYTES}",
        )
    return data


def decode_header(data: bytes) -> KeyHeader:
    """The header of its bytes. Raises ``NTE_BAD_DATA`` for anything that is not one."""
    try:
        header = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ncrypt_error(Status.NTE_BAD_DATA, "the key's header cannot be read") from None
    if len(header.key_id) != limits.KEY_ID_BYTES or len(header.root_id) != limits.ROOT_ID_BYTES:
        raise ncrypt_error(Status.NTE_BAD_DATA, "an id in the key's header has a wrong length")
    if len(header.container_id) not in (0, limits.CONTAINER_ID_BYTES):
        raise ncrypt_error(Status.NTE_BAD_DATA, "an id in the key's header has a wrong length")
    if len(header.access) > limits.ACCESS_ENTRIES:
        raise ncrypt_error(Status.NTE_BAD_DATA, "the access list in the key's header is too long")
    if header.name:
        try:
            check_name(header.name)
        except NCryptError as error:
            raise ncrypt_error(Status.NTE_BAD_DATA, error.cause) from None
    return header
