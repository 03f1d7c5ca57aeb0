"""Conventions that all functions share: handles, references, sizes of outputs, flags."""

from typing import Any, Final, TypeVar

from keyiso.errors import ncrypt_error
from keyiso.flags import NCRYPT_SILENT_FLAG
from keyiso.function_table import Sized
from keyiso.router import NCryptKeyHandle, NCryptProvHandle, Target, new_handle, target_of
from keyiso.status import Status

WHOLE: Final = -1
"""The size of an output buffer that is not given: large enough for everything."""

HANDLE_BYTES: Final = 8
"""The size of a handle where it is asked for: a pointer's."""


T = TypeVar("T")


def provider_target(handle: object) -> Target:
    return target_of(handle, NCryptProvHandle)


def key_target(handle: object) -> Target:
    return target_of(handle, NCryptKeyHandle)


def key_handle(target: Target, key: Any) -> NCryptKeyHandle:
    return new_handle(
        NCryptKeyHandle, Target(target.provider_name, target.table, target.provider, key)
    )


def reference(value: T | None) -> T:
    """A pointer that must not be NULL; CNG's argument check is that of its RPC stub."""
    if value is None:
        raise ncrypt_error(Status.RPC_X_NULL_REF_POINTER, "a required argument is None")
    return value


def output(size: int | None, produce: Sized, *arguments: Any) -> Any:
    """CNG's output convention: the size, or the output if it fits."""
    if size is None:
        return produce(*arguments, probe=True)
    if size != WHOLE and (needed := produce(*arguments, probe=True)) > size:
        raise ncrypt_error(
            Status.NTE_BUFFER_TOO_SMALL, f"the output has {needed} bytes, the buffer {size}"
        )
    return produce(*arguments)


def check_flags(flags: int) -> None:
    if flags & ~NCRYPT_SILENT_FLAG:
        raise ncrypt_error(Status.NTE_BAD_FLAGS, f"the flags {flags:#x} mean nothing here")
