"""Properties of keys and providers."""

from typing import Any, overload

from keyiso.identifiers import NCRYPT_PROVIDER_HANDLE_PROPERTY
from keyiso.ncrypt._arguments import HANDLE_BYTES, WHOLE, output, reference
from keyiso.router import (
    NCryptHandle,
    NCryptKeyHandle,
    NCryptProvHandle,
    Target,
    new_handle,
    target_of,
)


@overload
def NCryptGetProperty(
    hObject: NCryptHandle, pszProperty: str, dwFlags: int = 0, *, cbOutput: int = WHOLE
) -> bytes: ...
@overload
def NCryptGetProperty(
    hObject: NCryptHandle, pszProperty: str, dwFlags: int = 0, *, cbOutput: None
) -> int: ...
def NCryptGetProperty(
    hObject: NCryptHandle, pszProperty: str, dwFlags: int = 0, *, cbOutput: int | None = WHOLE
) -> Any:
    """A property: DWORDs little-endian, strings UTF-16-LE with NUL.

    "Provider Handle" gives a new provider handle instead of bytes; the caller frees it.
    """
    target = target_of(hObject, NCryptProvHandle, NCryptKeyHandle)
    is_key = isinstance(hObject, NCryptKeyHandle)
    if is_key and pszProperty == NCRYPT_PROVIDER_HANDLE_PROPERTY:
        output(cbOutput, lambda probe=False: HANDLE_BYTES)
        if cbOutput is None:
            return HANDLE_BYTES
        return new_handle(
            NCryptProvHandle, Target(target.provider_name, target.table, target.provider, None)
        )

    def value(*, probe: bool = False) -> bytes | int:
        if is_key:
            found = target.table.get_key_property(
                target.provider, target.object, reference(pszProperty), dwFlags
            )
        else:
            found = target.table.get_provider_property(
                target.provider, reference(pszProperty), dwFlags
            )
        return len(found) if probe else found

    return output(cbOutput, value)


def NCryptSetProperty(
    hObject: NCryptHandle, pszProperty: str, pbInput: bytes, dwFlags: int = 0
) -> None:
    """Set a property; which ones can be set when is in docs/ncrypt.md."""
    target = target_of(hObject, NCryptProvHandle, NCryptKeyHandle)
    name, value = reference(pszProperty), bytes(reference(pbInput))
    if isinstance(hObject, NCryptKeyHandle):
        target.table.set_key_property(target.provider, target.object, name, value, dwFlags)
    else:
        target.table.set_provider_property(target.provider, name, value, dwFlags)
