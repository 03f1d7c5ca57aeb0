"""A container's secret in the care of a TPM, which counts wrong PINs in hardware.

The TPM opens the secret for who knows a key that is derived from the PIN, while its PIN index has
attempts left. A copy of all files gives nothing to try a PIN against.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso.crypto.container_secret import ContainerSecret, container_secret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_cost import COST_64_KIB, SALT_BYTES, PinCost, stretched
from keyiso.crypto.pin_counters import Counters, LockSchedule
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.pin_index import (
    PinCounters,
    define_pin_index,
    read_pin_counters,
    write_pin_counters,
)
from keyiso.tpm.pin_sealed import PinSealed, decode_pin_sealed, seal_under_pin, unseal_with_pin
from keyiso.tpm.proven_time import proven_time
from keyiso.tpm.srk import PinnedSrk
from keyiso.tpm.tpm import Tpm

_CURVE: Final = ec.SECP256R1()
_SCALAR_BYTES: Final = 32


class TpmProtector(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of it, sealed by the trustlet's root: it has the key that writes the index."""

    salt: bytes
    cost: PinCost
    under_pin: bytes
    """A `PinSealed`."""
    writer: bytes
    """The private key of who may write the index, P-256."""

    def __repr__(self) -> str:
        return "<TpmProtector>"


def make_tpm_protector(
    tpm: Tpm,
    srk: PinnedSrk,
    handle: int,
    secret: ContainerSecret,
    pin: Pin,
    schedule: LockSchedule,
    *,
    random: Callable[[int], bytes] = os.urandom,
) -> TpmProtector:
    """Define a PIN index, whose handle must be free, and put the secret under it.

    Raises what `define_pin_index` does.
    """
    salt, writer = random(SALT_BYTES), ec.generate_private_key(_CURVE)
    index = define_pin_index(
        tpm, srk, handle, stretched(pin, salt, COST_64_KIB), writer, schedule.attempts
    )
    sealed = seal_under_pin(tpm, secret.container_id + secret.secret, srk, index)
    scalar = writer.private_numbers().private_value.to_bytes(_SCALAR_BYTES)
    return TpmProtector(salt, COST_64_KIB, sealed.encode(), scalar)


@dataclass(frozen=True, slots=True)
class TpmPinProtector:
    """A `PinProtector`: the protector with its TPM."""

    tpm: Tpm
    container_id: bytes
    stored: TpmProtector

    def counters(self, attempt_id: bytes) -> Counters:
        found = read_pin_counters(self.tpm, self._sealed.srk, self._sealed.index)
        return Counters(found.pin_count, found.pin_limit)

    def seconds(self) -> int:
        return proven_time(self.tpm, self._sealed.srk) // 1000

    def write(self, counters: Counters) -> None:
        writer = ec.derive_private_key(int.from_bytes(self.stored.writer), _CURVE)
        values = PinCounters(counters.count, counters.limit)
        write_pin_counters(self.tpm, self._sealed.srk, self._sealed.index, values, writer)

    def attempt(self, attempt_id: bytes, pin: Pin) -> ContainerSecret:
        auth_value = stretched(pin, self.stored.salt, self.stored.cost)
        try:
            opened = unseal_with_pin(self.tpm, self._sealed, auth_value)
        except NCryptError as error:
            if error.status == Status.TPM_20_E_AUTH_FAIL:
                raise ncrypt_error(Status.NTE_INCORRECT_PASSWORD, "the PIN is wrong") from None
            if error.status == Status.TPM_20_E_LOCKOUT:
                raise ncrypt_error(
                    Status.NTE_AUTHENTICATION_IGNORED, "no attempt is left"
                ) from None
            raise
        if not opened.startswith(self.container_id):
            raise ncrypt_error(Status.NTE_BAD_DATA, "this is the secret of another container")
        return container_secret(self.container_id, opened.removeprefix(self.container_id))

    @property
    def _sealed(self) -> PinSealed:
        return decode_pin_sealed(self.stored.under_pin)
