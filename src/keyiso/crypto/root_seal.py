"""Roots on their way from one armed worker to another one, sealed to the one that asks (HPKE).

Who relays them, or reads along, learns nothing. Layout: version (1 byte, 1), then HPKE's output;
inside, msgpack.
"""

from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from keyiso import limits
from keyiso.crypto.hpke import SUITE
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.crypto.key_header import RootKind
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Roots:
    """What an armed worker has."""

    boot: Root
    machine: tuple[Root, ...] = ()
    """The newest first; the others were replaced and still open what they sealed."""


class _Root(msgspec.Struct, frozen=True, array_like=True):
    root_id: bytes
    kind: RootKind
    secret: bytes


def seal_roots(roots: Roots, public_key: bytes, boot_id: bytes) -> bytes:
    """Seal roots to a worker's key (X25519, 32 bytes). Raises ``NTE_BAD_DATA`` for no key."""
    plain = msgspec.msgpack.encode(
        [_Root(one.root_id, one.kind, one.secret) for one in (roots.boot, *roots.machine)]
    )
    try:
        public = X25519PublicKey.from_public_bytes(public_key)
        return bytes([VERSION]) + SUITE.encrypt(plain, public, _info(boot_id))
    except ValueError:
        raise ncrypt_error(Status.NTE_BAD_DATA, "this is not a worker's key") from None


def open_roots(sealed: bytes, key: X25519PrivateKey, boot_id: bytes) -> Roots:
    """What was sealed to this worker in this boot. Raises ``NTE_BAD_DATA``, ``NTE_BAD_VER``."""
    if sealed[:1] != bytes([VERSION]):
        raise ncrypt_error(Status.NTE_BAD_VER, "the sealed roots have a version not known here")
    try:
        plain = SUITE.decrypt(sealed[1:], key, _info(boot_id))
        boot, *machine = map(_root, msgspec.msgpack.decode(plain, type=list[_Root]))
    except (InvalidTag, ValueError, msgspec.DecodeError):
        raise _damaged() from None
    if boot.kind != "boot" or any(root.kind != "machine" for root in machine):
        raise _damaged()
    return Roots(boot, tuple(machine))


def _root(one: _Root) -> Root:
    if (len(one.root_id), len(one.secret)) != (limits.ROOT_ID_BYTES, SECRET_BYTES):
        raise _damaged()
    return Root(one.root_id, one.kind, one.secret)


def _damaged() -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, "the sealed roots were not made for this worker")


def _info(boot_id: bytes) -> bytes:
    return b"keyiso roots 1" + boot_id
