"""What is stored beside keys, outside of the TPM: a version byte and a structure after it."""

from typing import Annotated, Final, TypeVar

from keyiso import limits
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.structure import Constant, MalformedError, Structure

S = TypeVar("S", bound=Structure)

VERSION: Final = 1
VERSION_BYTE = Annotated[int, Constant(1, VERSION)]
"""The first field of a stored structure."""


def decode_stored(structure: type[S], data: bytes) -> S:
    """A stored structure of its bytes.

    Raises ``NTE_BAD_DATA`` for what is none, ``NTE_BAD_VER`` for an unknown version.
    """
    if len(data) > limits.TPM_STORED_BYTES:
        raise damaged(
            structure, f"it has {len(data)} bytes; TPM_STORED_BYTES is {limits.TPM_STORED_BYTES}"
        )
    if data and data[0] != VERSION:
        raise ncrypt_error(
            Status.NTE_BAD_VER,
            f"a {structure.__name__} has version {data[0]}; this keyiso reads version {VERSION}",
            "Use the keyiso that wrote it, or a newer one.",
        )
    try:
        return structure.decode(data)
    except MalformedError as error:
        raise damaged(structure, str(error)) from None
    except NCryptError as error:  # a part that checks its values
        raise damaged(structure, error.cause) from None


def damaged(structure: type[Structure], cause: str) -> NCryptError:
    """The error for one that cannot be used."""
    return ncrypt_error(
        Status.NTE_BAD_DATA,
        f"a {structure.__name__} is damaged: {cause}",
        "Restore it from a backup.",
    )
