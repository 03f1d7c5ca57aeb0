"""PINs that a container had, so that a new one can be refused that is none.

They are stretched, and sealed under the container's secret, which a PIN releases: where a TPM
guards that, nobody tries PINs against a copy of the history.
"""

import hmac
import os
from collections.abc import Callable
from typing import Final

import msgspec

from keyiso import limits
from keyiso.crypto.bound_seal import BoundSeal
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_cost import SALT_BYTES, STRETCHED_BYTES, PinCost, stretched
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

_MOST_BYTES: Final = 256 + limits.PIN_HISTORY * (STRETCHED_BYTES + 2)
_SEAL: Final = BoundSeal("PIN history", _MOST_BYTES, "Reset the PIN.")


class PinHistory(msgspec.Struct, frozen=True, array_like=True):
    """Stretched PINs under one salt, so that a new PIN is stretched once to be compared."""

    salt: bytes
    cost: PinCost
    pins: tuple[bytes, ...] = ()
    """The newest first."""

    def __repr__(self) -> str:
        return f"PinHistory({len(self.pins)})"

    def with_pin(self, pin: Pin, kept: int) -> "PinHistory":
        """The history with a new PIN, of at most so many.

        Raises ``NTE_VALIDATION_FAILED`` for a PIN that is among the newest ``kept``.
        """
        if not kept:
            return msgspec.structs.replace(self, pins=())
        new = stretched(pin, self.salt, self.cost)
        if any(hmac.compare_digest(new, old) for old in self.pins[:kept]):
            raise ncrypt_error(
                Status.NTE_VALIDATION_FAILED,
                f"the new PIN is one of the last {kept}",
                "Choose another PIN.",
            )
        return msgspec.structs.replace(self, pins=(new, *self.pins)[:kept])


def new_history(cost: PinCost, *, random: Callable[[int], bytes] = os.urandom) -> PinHistory:
    """A history without PINs."""
    return PinHistory(random(SALT_BYTES), cost)


def seal_history(
    secret: ContainerSecret,
    history: PinHistory,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The history as it is stored."""
    encoded = msgspec.msgpack.encode(history)
    return _SEAL.seal(secret.secret, secret.container_id, encoded, random=random)


def open_history(secret: ContainerSecret, sealed: bytes) -> PinHistory:
    """The history. Raises ``NTE_BAD_DATA`` for what is none of this container."""
    encoded = _SEAL.open(secret.secret, secret.container_id, sealed)
    try:
        history = msgspec.msgpack.decode(encoded, type=PinHistory)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NCryptError):
        raise _unreadable() from None
    lengths = {len(pin) for pin in history.pins} | {STRETCHED_BYTES}
    if lengths != {STRETCHED_BYTES} or len(history.salt) != SALT_BYTES:
        raise _unreadable()
    return history


def _unreadable() -> NCryptError:
    return _SEAL.damaged("it cannot be read")
