"""What to do about an error, in the command line's words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keyiso.errors import NCryptError

_OPTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "NCRYPT_OVERWRITE_KEY_FLAG": "Choose another name, or replace the key with --overwrite.",
        "NCRYPT_PREFER_VBS_FLAG": (
            "Use --protection prefer-vbs to accept a software key where there is nothing better."
        ),
        "Key Usage": "What a key may do is chosen with --usage, when it is made.",
    }
)
"""By CNG's name in the library's advice: the advice that has the option's name instead."""


def advice(error: NCryptError) -> str:
    """What to do; the library's own advice unless it names what the command line has not."""
    for name, ours in _OPTIONS.items():
        if name in error.action:
            return ours
    return error.action
