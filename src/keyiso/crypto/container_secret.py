"""The authentication secret of a Passport container, and what it opens.

A container has one such secret, random, which exists in the clear only inside a trustlet, after a
gesture released it. Each of its protectors, one for each gesture, has it wrapped in a manner of its
own. It wraps the container's keys, which the root seals besides, and its history of PINs.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from keyiso import limits
from keyiso.crypto.bound_seal import BoundSeal
from keyiso.errors import ncrypt_error
from keyiso.status import Status

SECRET_BYTES: Final = 32

_KEY: Final = BoundSeal(
    "Passport key", limits.PASSPORT_KEY_BYTES, "Restore it from a backup; other keys still work."
)
_WRAPPED: Final = BoundSeal("container secret", SECRET_BYTES, "Reset the PIN.")


@dataclass(frozen=True, slots=True)
class ContainerSecret:
    """A container's secret. A PIN that is reset without keeping keys ends it."""

    container_id: bytes
    """16 bytes, public."""
    secret: bytes = field(repr=False)

    def wrap_key(
        self, key_id: bytes, pkcs8: bytes, *, random: Callable[[int], bytes] = os.urandom
    ) -> bytes:
        """A private key (DER PKCS #8) that only this container's gestures open."""
        return _KEY.seal(self.secret, self._ids(key_id), pkcs8, random=random)

    def unwrap_key(self, key_id: bytes, wrapped: bytes) -> bytes:
        """The private key. Raises ``NTE_BAD_DATA`` for that of another container or key id."""
        return _KEY.open(self.secret, self._ids(key_id), wrapped)

    def wrapped(self, key: bytes, *, random: Callable[[int], bytes] = os.urandom) -> bytes:
        """The secret under the key that a gesture gives (32 bytes)."""
        return _WRAPPED.seal(key, self.container_id, self.secret, random=random)

    def check(self, expected: bytes) -> None:
        """Raises ``NTE_BAD_DATA`` unless this is the secret that had this `check_value`."""
        if not hmac.compare_digest(self.check_value, expected):
            raise _WRAPPED.damaged("this is the secret of another container")

    @property
    def check_value(self) -> bytes:
        """32 bytes by which the secret is known, and which do not give it away."""
        return hmac.digest(self.secret, b"keyiso container check 1" + self.container_id, "sha256")

    def _ids(self, key_id: bytes) -> bytes:
        if len(key_id) != limits.KEY_ID_BYTES:
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "a key's id has another length")
        return self.container_id + key_id


def container_of(owner: int) -> bytes:
    """The id of a user's container: there is one for each uid."""
    return hashlib.sha256(f"keyiso container 1 of uid {owner}".encode()).digest()[
        : limits.CONTAINER_ID_BYTES
    ]


def new_container_secret(
    container_id: bytes, *, random: Callable[[int], bytes] = os.urandom
) -> ContainerSecret:
    """A secret that nobody knows yet."""
    return ContainerSecret(container_id, random(SECRET_BYTES))


def unwrapped_secret(container_id: bytes, key: bytes, wrapped: bytes) -> ContainerSecret:
    """The secret that a gesture's key opens. Raises ``NTE_BAD_DATA`` for a wrong one."""
    return container_secret(container_id, _WRAPPED.open(key, container_id, wrapped))


def container_secret(container_id: bytes, secret: bytes) -> ContainerSecret:
    """The secret that was kept elsewhere. Raises ``NTE_BAD_DATA`` for what is none."""
    if len(secret) != SECRET_BYTES:
        raise _WRAPPED.damaged("its length is wrong")
    return ContainerSecret(container_id, secret)
