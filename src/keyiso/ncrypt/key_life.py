"""A key from its beginning to its end, and the handles of it."""

from typing import Any

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    AT_KEYEXCHANGE,
    CRYPT_MACHINE_KEYSET,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_REGISTER_NOTIFY_FLAG,
)
from keyiso.function_table import HCRYPTPROV, NCryptKeyName
from keyiso.ncrypt._arguments import key_handle, key_target, provider_target, reference
from keyiso.ncrypt.providers import NCryptOpenStorageProvider
from keyiso.router import (
    NCryptHandle,
    NCryptKeyHandle,
    NCryptProvHandle,
    NCryptSecretHandle,
    free_handle,
    is_open_key,
    target_of,
)
from keyiso.status import Status


def NCryptCreatePersistedKey(
    hProvider: NCryptProvHandle,
    pszAlgId: str,
    pszKeyName: str | None = None,
    dwLegacyKeySpec: int = 0,
    dwFlags: int = 0,
) -> NCryptKeyHandle:
    """Begin a key; it exists after `NCryptFinalizeKey`. Without a name it is ephemeral.

    Raises ``NTE_EXISTS`` where the name is taken and ``NCRYPT_OVERWRITE_KEY_FLAG`` was not given.
    That is advisory here; `NCryptFinalizeKey` decides.
    """
    target = provider_target(hProvider)
    key = target.table.create_persisted_key(
        target.provider, reference(pszAlgId), pszKeyName, dwLegacyKeySpec, dwFlags
    )
    return key_handle(target, key)


def NCryptFinalizeKey(hKey: NCryptKeyHandle, dwFlags: int = 0) -> None:
    """Make the key. After it has returned, kill -9 and power loss do not undo it."""
    target = key_target(hKey)
    target.table.finalize_key(target.provider, target.object, dwFlags)


def NCryptOpenKey(
    hProvider: NCryptProvHandle, pszKeyName: str, dwLegacyKeySpec: int = 0, dwFlags: int = 0
) -> NCryptKeyHandle:
    """Open a persisted key. Raises ``NTE_BAD_KEYSET`` where there is none of that name."""
    target = provider_target(hProvider)
    key = target.table.open_key(target.provider, reference(pszKeyName), dwLegacyKeySpec, dwFlags)
    return key_handle(target, key)


def NCryptEnumKeys(
    hProvider: NCryptProvHandle,
    pszScope: None = None,
    ppEnumState: Any = None,
    dwFlags: int = 0,
) -> tuple[NCryptKeyName, Any]:
    """The next key, and the state for the call after. Raises ``NTE_NO_MORE_ITEMS`` at the end."""
    target = provider_target(hProvider)
    return target.table.enum_keys(target.provider, pszScope, ppEnumState, dwFlags)


def NCryptDeleteKey(hKey: NCryptKeyHandle, dwFlags: int = 0) -> None:
    """Delete the key for everybody, and free the handle. It is still open after an error."""
    target = key_target(hKey)
    target.table.delete_key(target.provider, target.object, dwFlags)
    free_handle(hKey)


def NCryptNotifyChangeKey(
    hProvider: NCryptProvHandle, phEvent: Any = None, dwFlags: int = NCRYPT_REGISTER_NOTIFY_FLAG
) -> Any:
    """Register an event for changes of keys (``NCRYPT_MACHINE_KEY_FLAG``: of the machine's).

    The event has ``wait(timeout)`` and ``fileno()``. Given again, it is reset. With
    ``NCRYPT_UNREGISTER_NOTIFY_FLAG`` it is closed, and None takes its place.
    """
    target = provider_target(hProvider)
    return target.table.notify_change_key(target.provider, phEvent, dwFlags)


def NCryptTranslateHandle(
    hLegacyProv: HCRYPTPROV | None,
    hLegacyKey: object = None,
    dwLegacyKeySpec: int = AT_KEYEXCHANGE,
    dwFlags: int = 0,
) -> tuple[NCryptProvHandle, NCryptKeyHandle]:
    """The provider and the key that a CryptoAPI provider and key container have become.

    It works where a key storage provider is registered under the CryptoAPI provider's name.
    Raises ``NTE_INVALID_PARAMETER`` for what is no `HCRYPTPROV`, ``NTE_NOT_FOUND`` for a provider
    without a counterpart, and as `NCryptOpenKey` does.
    """
    if dwFlags:
        raise ncrypt_error(Status.NTE_BAD_FLAGS, f"the flags {dwFlags:#x} mean nothing here")
    if not isinstance(hLegacyProv, HCRYPTPROV) or hLegacyKey is not None:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            "there are no CryptoAPI handles here",
            "Name the provider and the key container with HCRYPTPROV.",
        )
    machine = hLegacyProv.dwFlags & CRYPT_MACHINE_KEYSET
    provider = NCryptOpenStorageProvider(hLegacyProv.pszProvider)
    try:
        flags = NCRYPT_MACHINE_KEY_FLAG if machine else 0
        key = NCryptOpenKey(provider, hLegacyProv.pszContainer, dwLegacyKeySpec, flags)
    except NCryptError:
        NCryptFreeObject(provider)
        raise
    return provider, key


def NCryptFreeObject(hObject: NCryptHandle) -> None:
    """Free a handle. An ephemeral key ends with it."""
    target = target_of(hObject, NCryptProvHandle, NCryptKeyHandle, NCryptSecretHandle)
    if isinstance(hObject, NCryptKeyHandle):
        target.table.free_key(target.provider, target.object)
    elif isinstance(hObject, NCryptSecretHandle):
        target.table.free_secret(target.provider, target.object)
    else:
        target.table.free_provider(target.provider)
    free_handle(hObject)


def NCryptFreeBuffer(pvInput: object) -> None:
    """Nothing: Python frees buffers. Here so that a port of C code reads as it did."""


def NCryptIsKeyHandle(hKey: object) -> bool:
    """Whether this is the handle of a key that is open."""
    return is_open_key(hKey)
