"""The rules for PINs that containers are enrolled with."""

import msgspec

from keyiso.crypto.pin_counters import LockSchedule
from keyiso.crypto.pin_policy import PinPolicy


class PinRules(msgspec.Struct, frozen=True, array_like=True):
    """What new PINs must be like, and when wrong ones lock. A container keeps those that it was
    enrolled with, until it is reset.
    """

    policy: PinPolicy = PinPolicy()
    schedule: LockSchedule = LockSchedule()

    def as_argument(self) -> str:
        """For another process of keyiso; `rules_of_argument` reads it."""
        return msgspec.json.encode(self).decode()


def rules_of_argument(text: str) -> PinRules:
    """Raises ``msgspec.DecodeError``."""
    return msgspec.json.decode(text, type=PinRules)
