"""Key names: opaque UTF-16 of 1 to 260 units without NUL.

CNG's names are UTF-16 strings. Case is kept and compared exactly, nothing is normalised, and a
name is never part of a path. Between processes and in the store a name is its UTF-16-LE bytes,
because a Python string with an unpaired surrogate, which is a legal name, is not legal UTF-8.
"""

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status


def encode_name(name: str) -> bytes:
    """The UTF-16-LE bytes of a key's name (2 to 520 bytes).

    Raises ``NTE_INVALID_PARAMETER`` for a name that is empty, contains NUL or is longer than
    260 UTF-16 units.
    """
    if not isinstance(name, str):
        raise _bad_name(f"a key name must be a string, not {type(name).__name__}")
    units = name.encode("utf-16-le", "surrogatepass")
    check_name(units)
    return units


def check_name(units: bytes) -> None:
    """Check the UTF-16-LE bytes of a name that another process sent. Raises as ``encode_name``."""
    if not units:
        raise _bad_name("a key name must not be empty")
    if len(units) % 2:
        raise _bad_name("a key name must be whole UTF-16 units")
    if len(units) > 2 * limits.NAME_UNITS:
        raise _bad_name(
            f"the key name has {len(units) // 2} UTF-16 units; the limit is {limits.NAME_UNITS}"
        )
    if 0 in memoryview(units).cast("H"):
        raise _bad_name("a key name must not contain NUL")


def encode_property_name(name: str) -> bytes:
    """The UTF-16-LE bytes of a property's name (2 to 128 bytes).

    Raises ``NTE_INVALID_PARAMETER`` for a name that is empty, contains NUL or is longer than
    64 UTF-16 units (NCRYPT_MAX_PROPERTY_NAME).
    """
    units = name.encode("utf-16-le", "surrogatepass")
    check_property_name(units)
    return units


def check_property_name(units: bytes) -> None:
    """Check the bytes of a property's name. Raises as ``encode_property_name``."""
    whole = len(units) % 2 == 0
    if not whole or not 0 < len(units) <= 2 * limits.PROPERTY_NAME_UNITS:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            f"a property's name has 1 to {limits.PROPERTY_NAME_UNITS} UTF-16 units",
        )
    if 0 in memoryview(units).cast("H"):
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "a property's name contains NUL")


def decode_name(units: bytes) -> str:
    """The string of a key's or a property's name."""
    return units.decode("utf-16-le", "surrogatepass")


def printable_name(name: str) -> str:
    """The name with everything escaped that could steer a terminal or forge a log line."""
    return "".join(
        character if character.isprintable() and character != "\\" else _escaped(character)
        for character in name
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _bad_name(cause: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER,
        cause,
        f"Use a name of 1 to {limits.NAME_UNITS} UTF-16 units without NUL.",
    )
