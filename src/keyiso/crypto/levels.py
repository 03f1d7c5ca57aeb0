"""What the level of a key allows."""

from types import MappingProxyType
from typing import Final

from keyiso.crypto.key_header import Level
from keyiso.errors import ncrypt_error
from keyiso.status import Status

_STRENGTH: Final = MappingProxyType[Level, int]({"software": 0, "vbs": 1, "hardware": 2})


def check_export_policy(level: Level, policy: int) -> None:
    """Raise ``NTE_NOT_SUPPORTED`` for a policy that would let the key out of its level.

    The private key of level ``vbs`` never leaves an armed worker: no export, not under a password,
    no archiving.
    """
    if level != "software" and policy:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            f"a key of level {level} cannot be exported, and its export policy is {policy:#x}",
            "Ask for no export, or for a software key.",
        )


def check_not_lowered(present: Level, replacement: Level) -> None:
    """Raise ``NTE_PERM`` when a key would be overwritten by one that is protected less."""
    if _STRENGTH[replacement] < _STRENGTH[present]:
        raise ncrypt_error(
            Status.NTE_PERM,
            f"the key that has this name is of level {present}, the new one would be {replacement}",
            "Ask for the same protection, or delete the key first.",
        )
