"""Import and export."""

from collections.abc import Sequence
from typing import Any, overload

from keyiso.function_table import NCryptBuffer
from keyiso.ncrypt._arguments import (
    WHOLE,
    key_handle,
    key_target,
    output,
    provider_target,
    reference,
)
from keyiso.router import NCryptKeyHandle, NCryptProvHandle


def NCryptImportKey(
    hProvider: NCryptProvHandle,
    hImportKey: NCryptKeyHandle | None,
    pszBlobType: str,
    pParameterList: Sequence[NCryptBuffer] | None,
    pbData: bytes,
    dwFlags: int = 0,
) -> NCryptKeyHandle:
    """Import a public key, or a private one as DER PKCS #8.

    The name comes from a buffer ``NCRYPTBUFFER_PKCS_KEY_NAME``; without one the key is ephemeral.
    """
    target = provider_target(hProvider)
    import_key = None if hImportKey is None else key_target(hImportKey).object
    key = target.table.import_key(
        target.provider,
        import_key,
        reference(pszBlobType),
        tuple(pParameterList or ()),
        bytes(reference(pbData)),
        dwFlags,
    )
    return key_handle(target, key)


@overload
def NCryptExportKey(
    hKey: NCryptKeyHandle,
    hExportKey: NCryptKeyHandle | None,
    pszBlobType: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbOutput: int = WHOLE,
) -> bytes: ...
@overload
def NCryptExportKey(
    hKey: NCryptKeyHandle,
    hExportKey: NCryptKeyHandle | None,
    pszBlobType: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbOutput: None,
) -> int: ...
def NCryptExportKey(
    hKey: NCryptKeyHandle,
    hExportKey: NCryptKeyHandle | None,
    pszBlobType: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbOutput: int | None = WHOLE,
) -> Any:
    """The key as a blob. Public blobs can always be exported."""
    target = key_target(hKey)
    export_key = None if hExportKey is None else key_target(hExportKey).object
    return output(
        cbOutput,
        target.table.export_key,
        target.provider,
        target.object,
        export_key,
        reference(pszBlobType),
        tuple(pParameterList or ()),
        dwFlags,
    )
