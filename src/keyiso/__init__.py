"""keyiso: named private keys that live in another process.

The public Python API is here by name; `keyiso.ncrypt` has CNG's own functions.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyiso.errors import (
        EphemeralKeyGoneError,
        InvalidSignatureError,
        KeyExistsError,
        KeyNotFoundError,
        NCryptError,
        ServiceUnavailableError,
        VbsUnavailableError,
    )
    from keyiso.keys import (
        AccessRule,
        ExportPolicy,
        Key,
        KeyUsage,
        Protection,
        ProtectionReport,
        Provider,
    )

__all__ = [
    "AccessRule",
    "EphemeralKeyGoneError",
    "ExportPolicy",
    "InvalidSignatureError",
    "Key",
    "KeyExistsError",
    "KeyNotFoundError",
    "KeyUsage",
    "NCryptError",
    "Protection",
    "ProtectionReport",
    "Provider",
    "ServiceUnavailableError",
    "VbsUnavailableError",
]


def __getattr__(name: str) -> Any:
    # Imported when first used (PEP 562): a service that needs none of it does not carry it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = "keyiso.errors" if name.endswith("Error") else "keyiso.keys"
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
