"""What is stored of a container: sealed by the trustlet's root, so that nobody else makes one."""

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from keyiso import limits
from keyiso.crypto.bound_seal import BoundSeal
from keyiso.crypto.key_blob import Root
from keyiso.errors import NCryptError

T = TypeVar("T")


class SealedValue(Generic[T]):
    """The bytes of a value: for one root, one container and one purpose."""

    def __init__(
        self, kind: type[T], seal: BoundSeal, roots: Sequence[Root], container_id: bytes
    ) -> None:
        """``roots``: the newest first, which seals; the others open what they sealed."""
        self._kind = kind
        self._seal = seal
        self._roots = roots
        self._container_id = container_id

    def encode(self, value: T) -> bytes:
        """The sealed value."""
        root = self._roots[0]
        encoded = msgspec.msgpack.encode(value)
        return self._seal.seal(root.secret, root.root_id + self._container_id, encoded)

    def decode(self, sealed: bytes) -> T:
        """The value. Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER``."""
        root = self._root_of(sealed)
        plain = self._seal.open(root.secret, root.root_id + self._container_id, sealed)
        try:
            return msgspec.msgpack.decode(plain, type=self._kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NCryptError):
            raise self._seal.damaged("it cannot be read") from None

    def _root_of(self, sealed: bytes) -> Root:
        root_id = sealed[1 : 1 + limits.ROOT_ID_BYTES]
        return next((root for root in self._roots if root.root_id == root_id), self._roots[0])
