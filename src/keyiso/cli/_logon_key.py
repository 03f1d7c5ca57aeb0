"""The key of a container that signs logons."""

import os
from typing import Final

from keyiso.client.binding import Binding
from keyiso.client.passport import create_passport_key, find_passport_key, sign_with_pin
from keyiso.client.reference import KeyReference
from keyiso.crypto.pin import Pin
from keyiso.crypto.signatures import NO_PADDING
from keyiso.errors import NCryptError
from keyiso.status import Status

LOGON_KEY: Final = "logon"
_ALGORITHM: Final = "ECDSA_P256"
_DIGEST_BYTES: Final = 32

_UNUSABLE: Final = (Status.NTE_BAD_KEYSET, Status.NTE_BAD_DATA)
"""There is none, or it was lost by a reset."""


def make_logon_key(binding: Binding, pin: Pin) -> KeyReference:
    """A new one, in the place of one of an earlier container."""
    return create_passport_key(binding, pin, LOGON_KEY, _ALGORITHM, overwrite=True)


def mend_logon_key(binding: Binding, pin: Pin) -> bool:
    """Make it anew where it signs nothing: root reset the PIN, or enrolling was interrupted.

    Returns whether that was needed.
    """
    try:
        key = find_passport_key(binding, LOGON_KEY)
        sign_with_pin(binding, pin, key, os.urandom(_DIGEST_BYTES), NO_PADDING)
    except NCryptError as error:
        if error.status not in _UNUSABLE:
            raise
        make_logon_key(binding, pin)
        return True
    return False
