"""A container's secret under a key that is derived from the PIN, for machines without a TPM.

This is weaker, and keys under it say so. Wrong PINs are counted in a file, which root can put back
(*rollback: not stopped*); and who has a copy of all files, the root's among them, can try PINs as
fast as his machines derive keys.
"""

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from keyiso.crypto.container_secret import ContainerSecret, unwrapped_secret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_cost import COST_64_MIB, SALT_BYTES, PinCost, stretched
from keyiso.crypto.pin_counters import Counters
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

NOT_STOPPED: Final = ("rollback", "offline guessing")
"""What this protector does not stop, beside what no protector does."""


class SoftwareProtector(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of it, sealed by the trustlet's root."""

    salt: bytes
    cost: PinCost
    wrapped: bytes

    def __repr__(self) -> str:
        return "<SoftwareProtector>"


class CountersOnFile(msgspec.Struct, frozen=True, array_like=True):
    """The counters, and the attempt that was counted before it was judged."""

    count: int
    limit: int
    attempt_id: bytes = b""
    """Empty when every attempt that was counted was judged."""
    mark: bytes = b""
    """Of the PIN that was counted: 32 bytes, which cost as much to guess at as the secret."""

    @property
    def judged(self) -> "CountersOnFile":
        return CountersOnFile(self.count, self.limit)


class CountersFile(Protocol):
    """Where the counters are kept."""

    def read(self) -> CountersOnFile | None:
        """None when nothing is there."""

    def write(self, counters: CountersOnFile) -> None:
        """Replace them. They are durable when this returns."""


def make_software_protector(
    secret: ContainerSecret,
    pin: Pin,
    *,
    cost: PinCost = COST_64_MIB,
    random: Callable[[int], bytes] = os.urandom,
) -> SoftwareProtector:
    """Put the secret under a PIN."""
    salt = random(SALT_BYTES)
    return SoftwareProtector(salt, cost, secret.wrapped(stretched(pin, salt, cost), random=random))


@dataclass(frozen=True, slots=True)
class SoftwarePinProtector:
    """A `PinProtector`: the protector with its counters, and a clock that begins with each boot.

    An attempt is counted before the PIN is judged, so that neither a full disk nor the end of the
    process makes it free. Who repeats it with the same PIN is not charged again.
    """

    container_id: bytes
    stored: SoftwareProtector
    file: CountersFile
    monotonic: Callable[[], float]

    def counters(self, attempt_id: bytes) -> Counters:
        found = self._read()
        not_judged = bool(attempt_id) and found.attempt_id == attempt_id
        return Counters(found.count - not_judged, found.limit)

    def seconds(self) -> int:
        return int(self.monotonic())

    def write(self, counters: Counters) -> None:
        self.file.write(CountersOnFile(counters.count, counters.limit))

    def attempt(self, attempt_id: bytes, pin: Pin) -> ContainerSecret:
        key = stretched(pin, self.stored.salt, self.stored.cost)
        found, mark = self._read(), hmac.digest(key, attempt_id, "sha256")
        if found.attempt_id == attempt_id and not hmac.compare_digest(found.mark, mark):
            self.file.write(found.judged)
            raise _wrong()
        if found.attempt_id != attempt_id:
            if found.count >= found.limit:
                raise ncrypt_error(Status.NTE_AUTHENTICATION_IGNORED, "no attempt is left")
            found = CountersOnFile(found.count + 1, found.limit, attempt_id, mark)
            self.file.write(found)
        try:
            secret = unwrapped_secret(self.container_id, key, self.stored.wrapped)
        except NCryptError as error:
            if error.status != Status.NTE_BAD_DATA:
                raise
            self.file.write(found.judged)
            raise _wrong() from None
        self.file.write(CountersOnFile(0, found.limit))
        return secret

    def _read(self) -> CountersOnFile:
        found = self.file.read()
        if found is None:
            raise ncrypt_error(
                Status.KEYISO_E_STORE,
                "the counters of wrong PINs are missing",
                "Restore them from a backup, or reset the PIN.",
            )
        return found


def _wrong() -> NCryptError:
    return ncrypt_error(Status.NTE_INCORRECT_PASSWORD, "the PIN is wrong")
