"""Keys that PINs are sealed to, each for one PIN.

A sealed PIN that somebody recorded opens nothing a second time, as its key is gone with the first
use. Nor does it in another process, which has other keys: the prompt keeps the PIN until it has an
answer, and seals it again.
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.clock import Clock
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_seal import PinTerms, open_pin
from keyiso.errors import ncrypt_error
from keyiso.status import Status


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: X25519PrivateKey
    terms: PinTerms
    until: float


class PinKeys:
    """Keys that were given out, until a PIN comes or the time is over."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._waiting: dict[bytes, _Waiting] = {}

    def make(self, terms: PinTerms) -> bytes:
        """A public key (X25519, 32 bytes) for one PIN under these terms.

        Of a user who has ``PIN_KEYS_PER_USER`` the oldest one ends. Raises ``KEYISO_E_LIMIT``
        when there are ``PIN_KEYS``.
        """
        self._drop_old()
        own = [public for public, one in self._waiting.items() if one.terms.owner == terms.owner]
        if len(own) >= limits.PIN_KEYS_PER_USER:
            del self._waiting[own[0]]
        if len(self._waiting) >= limits.PIN_KEYS:
            raise ncrypt_error(
                Status.KEYISO_E_LIMIT,
                f"too many prompts wait for a PIN; PIN_KEYS is {limits.PIN_KEYS}",
                "Try again later.",
            )
        key = X25519PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        until = self._clock.monotonic() + limits.PIN_KEY_SECONDS
        self._waiting[public] = _Waiting(key, terms, until)
        return public

    def open(self, public_key: bytes, sealed: bytes, terms: PinTerms) -> Pin:
        """The PIN that was sealed to one of the keys, which is used up however this ends.

        Raises ``KEYISO_E_STALE`` for a key that is not waiting: used, too old, of another process;
        and ``NTE_BAD_DATA`` and ``NTE_BAD_VER`` for what was not sealed to it under these terms.
        """
        self._drop_old()
        waiting = self._waiting.pop(public_key, None)
        if waiting is None:
            raise ncrypt_error(
                Status.KEYISO_E_STALE,
                "the key that the PIN was sealed to was used, or is not there any more",
                "Ask for another key, and seal the PIN again.",
            )
        if waiting.terms != terms:
            raise ncrypt_error(
                Status.NTE_BAD_DATA, "the key that the PIN was sealed to is for something else"
            )
        return open_pin(sealed, waiting.key, terms)

    def __len__(self) -> int:
        return len(self._waiting)

    def _drop_old(self) -> None:
        now = self._clock.monotonic()
        for public in [public for public, one in self._waiting.items() if one.until <= now]:
            del self._waiting[public]
