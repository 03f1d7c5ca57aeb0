"""What a try of a PIN costs: Argon2id (RFC 9106)."""

from typing import Final, cast

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from keyiso import limits
from keyiso.crypto.pin import Pin
from keyiso.errors import ncrypt_error
from keyiso.status import Status

SALT_BYTES: Final = 16
STRETCHED_BYTES: Final = 32


class PinCost(msgspec.Struct, frozen=True, array_like=True):
    """Parameters of Argon2id. They are stored with what they were used for.

    Raises ``KEYISO_E_LIMIT`` above ``PIN_COST_KIB`` or ``PIN_COST_ITERATIONS``.
    """

    memory_kib: int
    iterations: int
    lanes: int

    def __post_init__(self) -> None:
        """Raises ``KEYISO_E_LIMIT``."""
        for name, cost in (
            ("PIN_COST_KIB", self.memory_kib),
            ("PIN_COST_ITERATIONS", self.iterations),
        ):
            if cost > getattr(limits, name):
                raise ncrypt_error(
                    Status.KEYISO_E_LIMIT,
                    f"a try of the PIN would cost more than {name} ({getattr(limits, name)})",
                )
        if self.iterations < 1 or self.lanes < 1 or self.memory_kib < 8 * self.lanes:
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "Argon2id has no such parameters")


COST_64_MIB: Final = PinCost(64 * 1024, 3, 4)
"""For what can be guessed offline. RFC 9106 recommends it where memory is limited: 64 MiB."""

COST_64_KIB: Final = PinCost(64, 256, 1)
"""For what a TPM guards, in the memory of an armed worker, which has no larger piece: 64 KiB. It is
there for the day on which somebody reads a TPM out."""


def stretched(pin: Pin, salt: bytes, cost: PinCost) -> bytes:
    """A key of 32 bytes. ``salt`` has ``SALT_BYTES``."""
    derivation = Argon2id(
        salt=salt,
        length=STRETCHED_BYTES,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    # A bytearray is as good, but for its declared type; bytes would be a copy that is not wiped.
    return derivation.derive(cast(bytes, pin.characters))
