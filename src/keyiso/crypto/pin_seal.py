"""A PIN on its way from the prompt to the trustlet, sealed to a key that is used once (HPKE).

What the PIN is for is HPKE's ``info``: whoever carries it can neither read it nor use it for
anything else. Layout: version (1 byte, 1), then HPKE's output, which always has the same length;
inside, the PIN's length (1 byte), the PIN, and zeros.
"""

from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from keyiso import limits
from keyiso.crypto.hpke import KEY_BYTES, SUITE, TAG_BYTES
from keyiso.crypto.pin import Pin, wipe
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

VERSION: Final = 1
_PADDED_BYTES: Final = 1 + limits.PIN_CHARACTERS
SEALED_BYTES: Final = 1 + KEY_BYTES + _PADDED_BYTES + TAG_BYTES
"""What every sealed PIN has."""

Purpose = Literal["enrol", "verify", "change", "new", "reset-key"]
"""``change`` is the old PIN of a change, ``new`` the PIN that a change or a reset sets,
``reset-key`` the PIN for setting a reset key."""


class PinTerms(msgspec.Struct, frozen=True, array_like=True):
    """What a sealed PIN is for."""

    owner: int
    """The user's uid."""
    container_id: bytes
    purpose: Purpose
    attempt_id: bytes


def seal_pin(pin: Pin, public_key: bytes, terms: PinTerms) -> bytes:
    """Seal a PIN to a trustlet's key (X25519, 32 bytes). The PIN is not wiped: the prompt may have
    to seal it again, for a trustlet that was restarted.

    Raises ``NTE_BAD_DATA`` for what is no such key.
    """
    padded = bytearray(_PADDED_BYTES)
    try:
        padded[0] = len(pin.characters)
        padded[1 : 1 + len(pin.characters)] = pin.characters
        public = X25519PublicKey.from_public_bytes(public_key)
        return bytes([VERSION]) + SUITE.encrypt(padded, public, _info(terms))
    except ValueError:
        raise ncrypt_error(
            Status.NTE_BAD_DATA, "what came as the trustlet's key is not one"
        ) from None
    finally:
        wipe(padded)


def open_pin(sealed: bytes, key: X25519PrivateKey, terms: PinTerms) -> Pin:
    """The PIN that was sealed to this key under exactly these terms.

    Raises ``NTE_BAD_DATA``, ``NTE_BAD_VER``, and ``NTE_INVALID_PARAMETER`` for what is no PIN.
    """
    if sealed[:1] != bytes([VERSION]):
        raise ncrypt_error(Status.NTE_BAD_VER, "the sealed PIN has a version not known here")
    if len(sealed) != SEALED_BYTES:
        raise _not_for_here()
    try:
        padded = bytearray(SUITE.decrypt(sealed[1:], key, _info(terms)))
    except (InvalidTag, ValueError):
        raise _not_for_here() from None
    try:
        length = padded[0]
        if any(padded[1 + length :]) or length > limits.PIN_CHARACTERS:
            raise _not_for_here()
        return Pin(padded[1 : 1 + length])
    finally:
        wipe(padded)


def _not_for_here() -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_DATA, "the sealed PIN was not made for this trustlet and these terms"
    )


def _info(terms: PinTerms) -> bytes:
    return b"keyiso PIN 1" + msgspec.msgpack.encode(terms)
