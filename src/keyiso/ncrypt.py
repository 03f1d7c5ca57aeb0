"""The NCrypt functions under their own names (ncrypt.h).

Parameters keep CNG's order; out-parameters are returned; counts disappear, because Python knows
lengths. Handles are small opaque objects. A status other than success raises `NCryptError`.

Functions with an output buffer take its size as a keyword: not given, the output is returned
whole; ``None`` is the size probe, which returns the size in bytes; a number that is too small is
``NTE_BUFFER_TOO_SMALL``.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeVar, overload

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    AT_KEYEXCHANGE,
    CRYPT_MACHINE_KEYSET,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_REGISTER_NOTIFY_FLAG,
    NCRYPT_SILENT_FLAG,
)
from keyiso.function_table import (
    BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO,
    BCRYPT_OAEP_PADDING_INFO,
    BCRYPT_PKCS1_PADDING_INFO,
    BCRYPT_PSS_PADDING_INFO,
    HCRYPTPROV,
    NCRYPT_CIPHER_PADDING_INFO,
    NCRYPT_UI_POLICY,
    EncryptionPaddingInfo,
    NCryptAlgorithmName,
    NCryptBuffer,
    NCryptKeyName,
    NCryptProviderName,
    PaddingInfo,
    Sized,
)
from keyiso.identifiers import NCRYPT_PROVIDER_HANDLE_PROPERTY
from keyiso.router import (
    NCryptHandle,
    NCryptKeyHandle,
    NCryptProvHandle,
    NCryptSecretHandle,
    Target,
    free_handle,
    is_open_key,
    new_handle,
    process_router,
    target_of,
)
from keyiso.status import Status

__all__ = [
    "BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO",
    "BCRYPT_OAEP_PADDING_INFO",
    "BCRYPT_PKCS1_PADDING_INFO",
    "BCRYPT_PSS_PADDING_INFO",
    "EncryptionPaddingInfo",
    "KeyisoSignHashes",
    "HCRYPTPROV",
    "NCRYPT_CIPHER_PADDING_INFO",
    "NCRYPT_UI_POLICY",
    "NCryptAlgorithmName",
    "NCryptBuffer",
    "NCryptCreatePersistedKey",
    "NCryptDecrypt",
    "NCryptDeleteKey",
    "NCryptDeriveKey",
    "NCryptEncrypt",
    "NCryptEnumAlgorithms",
    "NCryptEnumKeys",
    "NCryptEnumStorageProviders",
    "NCryptError",
    "NCryptExportKey",
    "NCryptFinalizeKey",
    "NCryptFreeBuffer",
    "NCryptFreeObject",
    "NCryptGetProperty",
    "NCryptHandle",
    "NCryptImportKey",
    "NCryptIsAlgSupported",
    "NCryptIsKeyHandle",
    "NCryptKeyHandle",
    "NCryptKeyName",
    "NCryptNotifyChangeKey",
    "NCryptOpenKey",
    "NCryptOpenStorageProvider",
    "NCryptProvHandle",
    "NCryptProviderName",
    "NCryptSecretAgreement",
    "NCryptSecretHandle",
    "NCryptSetProperty",
    "NCryptSignHash",
    "NCryptTranslateHandle",
    "NCryptVerifySignature",
    "PaddingInfo",
]

WHOLE: Final = -1
"""The size of an output buffer that is not given: large enough for everything."""

HANDLE_BYTES: Final = 8
"""The size of a handle where it is asked for: a pointer's."""

T = TypeVar("T")


# --- providers ---------------------------------------------------------------------------------


def NCryptOpenStorageProvider(
    pszProviderName: str | None = None, dwFlags: int = 0
) -> NCryptProvHandle:
    """Open a provider; no name is the software provider.

    Raises ``NTE_NOT_FOUND`` for a name that is not registered, ``NTE_PROV_DLL_NOT_FOUND`` and
    ``NTE_PROVIDER_DLL_FAIL`` for an image that is missing or is not a provider.
    """
    return process_router().open_provider(pszProviderName, dwFlags)


def NCryptEnumStorageProviders(dwFlags: int = 0) -> tuple[NCryptProviderName, ...]:
    """Every registered provider."""
    _check_flags(dwFlags)
    return process_router().providers()


def NCryptEnumAlgorithms(
    hProvider: NCryptProvHandle, dwAlgOperations: int = 0, dwFlags: int = 0
) -> Sequence[NCryptAlgorithmName]:
    """The provider's algorithms, all or those of some operations (NCRYPT_*_OPERATION)."""
    target = _provider(hProvider)
    return target.table.enum_algorithms(target.provider, dwAlgOperations, dwFlags)


def NCryptIsAlgSupported(hProvider: NCryptProvHandle, pszAlgId: str, dwFlags: int = 0) -> None:
    """Return when the provider has the algorithm; raises ``NTE_NOT_SUPPORTED`` otherwise."""
    target = _provider(hProvider)
    target.table.is_alg_supported(target.provider, _reference(pszAlgId), dwFlags)


# --- a key's life ------------------------------------------------------------------------------


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
    target = _provider(hProvider)
    key = target.table.create_persisted_key(
        target.provider, _reference(pszAlgId), pszKeyName, dwLegacyKeySpec, dwFlags
    )
    return _key_handle(target, key)


def NCryptFinalizeKey(hKey: NCryptKeyHandle, dwFlags: int = 0) -> None:
    """Make the key. After it has returned, kill -9 and power loss do not undo it."""
    target = _key(hKey)
    target.table.finalize_key(target.provider, target.object, dwFlags)


def NCryptOpenKey(
    hProvider: NCryptProvHandle, pszKeyName: str, dwLegacyKeySpec: int = 0, dwFlags: int = 0
) -> NCryptKeyHandle:
    """Open a persisted key. Raises ``NTE_BAD_KEYSET`` where there is none of that name."""
    target = _provider(hProvider)
    key = target.table.open_key(target.provider, _reference(pszKeyName), dwLegacyKeySpec, dwFlags)
    return _key_handle(target, key)


def NCryptEnumKeys(
    hProvider: NCryptProvHandle,
    pszScope: None = None,
    ppEnumState: Any = None,
    dwFlags: int = 0,
) -> tuple[NCryptKeyName, Any]:
    """The next key, and the state for the call after. Raises ``NTE_NO_MORE_ITEMS`` at the end."""
    target = _provider(hProvider)
    return target.table.enum_keys(target.provider, pszScope, ppEnumState, dwFlags)


def NCryptDeleteKey(hKey: NCryptKeyHandle, dwFlags: int = 0) -> None:
    """Delete the key for everybody, and free the handle. It is still open after an error."""
    target = _key(hKey)
    target.table.delete_key(target.provider, target.object, dwFlags)
    free_handle(hKey)


def NCryptNotifyChangeKey(
    hProvider: NCryptProvHandle, phEvent: Any = None, dwFlags: int = NCRYPT_REGISTER_NOTIFY_FLAG
) -> Any:
    """Register an event for changes of keys (``NCRYPT_MACHINE_KEY_FLAG``: of the machine's).

    The event has ``wait(timeout)`` and ``fileno()``. Given again, it is reset. With
    ``NCRYPT_UNREGISTER_NOTIFY_FLAG`` it is closed, and None takes its place.
    """
    target = _provider(hProvider)
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


# --- properties --------------------------------------------------------------------------------


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
        _output(cbOutput, lambda probe=False: HANDLE_BYTES)
        if cbOutput is None:
            return HANDLE_BYTES
        return new_handle(
            NCryptProvHandle, Target(target.provider_name, target.table, target.provider, None)
        )

    def value(*, probe: bool = False) -> bytes | int:
        if is_key:
            found = target.table.get_key_property(
                target.provider, target.object, _reference(pszProperty), dwFlags
            )
        else:
            found = target.table.get_provider_property(
                target.provider, _reference(pszProperty), dwFlags
            )
        return len(found) if probe else found

    return _output(cbOutput, value)


def NCryptSetProperty(
    hObject: NCryptHandle, pszProperty: str, pbInput: bytes, dwFlags: int = 0
) -> None:
    """Set a property; which ones can be set when is in docs/ncrypt.md."""
    target = target_of(hObject, NCryptProvHandle, NCryptKeyHandle)
    name, value = _reference(pszProperty), bytes(_reference(pbInput))
    if isinstance(hObject, NCryptKeyHandle):
        target.table.set_key_property(target.provider, target.object, name, value, dwFlags)
    else:
        target.table.set_provider_property(target.provider, name, value, dwFlags)


# --- import and export -------------------------------------------------------------------------


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
    target = _provider(hProvider)
    import_key = None if hImportKey is None else _key(hImportKey).object
    key = target.table.import_key(
        target.provider,
        import_key,
        _reference(pszBlobType),
        tuple(pParameterList or ()),
        bytes(_reference(pbData)),
        dwFlags,
    )
    return _key_handle(target, key)


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
    target = _key(hKey)
    export_key = None if hExportKey is None else _key(hExportKey).object
    return _output(
        cbOutput,
        target.table.export_key,
        target.provider,
        target.object,
        export_key,
        _reference(pszBlobType),
        tuple(pParameterList or ()),
        dwFlags,
    )


# --- operations --------------------------------------------------------------------------------


@overload
def NCryptSignHash(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    dwFlags: int = 0,
    *,
    cbSignature: int = WHOLE,
) -> bytes: ...
@overload
def NCryptSignHash(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    dwFlags: int = 0,
    *,
    cbSignature: None,
) -> int: ...
def NCryptSignHash(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    dwFlags: int = 0,
    *,
    cbSignature: int | None = WHOLE,
) -> Any:
    """Sign a hash. RSA needs a padding; ECDSA signatures are r and s of the curve's size.

    Raises ``NTE_PERM`` where the key's usage does not include signing.
    """
    target = target_of(hKey, NCryptKeyHandle)
    return _output(
        cbSignature,
        target.table.sign_hash,
        target.provider,
        target.object,
        pPaddingInfo,
        bytes(_reference(pbHashValue)),
        dwFlags,
    )


def KeyisoSignHashes(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValues: Sequence[bytes],
    dwFlags: int = 0,
) -> list[bytes]:
    """Sign many hashes, faster than `NCryptSignHash` for each. keyiso's own: CNG has none.

    Raises what `NCryptSignHash` raises, for the first hash that cannot be signed.
    """
    target = target_of(hKey, NCryptKeyHandle)
    hashes = [bytes(_reference(value)) for value in _reference(pbHashValues)]
    arguments = target.provider, target.object, pPaddingInfo
    try:
        return list(target.table.sign_hashes(*arguments, hashes, dwFlags))
    except NCryptError as error:
        if error.status != Status.NTE_NOT_SUPPORTED:
            raise
    return [target.table.sign_hash(*arguments, value, dwFlags) for value in hashes]


def NCryptVerifySignature(
    hKey: NCryptKeyHandle,
    pPaddingInfo: PaddingInfo,
    pbHashValue: bytes,
    pbSignature: bytes,
    dwFlags: int = 0,
) -> None:
    """Return when the signature is one of this key over this hash.

    Raises ``NTE_BAD_SIGNATURE`` when it is not.
    """
    target = _key(hKey)
    target.table.verify_signature(
        target.provider,
        target.object,
        pPaddingInfo,
        bytes(_reference(pbHashValue)),
        bytes(_reference(pbSignature)),
        dwFlags,
    )


@overload
def NCryptEncrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int = WHOLE,
) -> bytes: ...
@overload
def NCryptEncrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: None,
) -> int: ...
def NCryptEncrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int | None = WHOLE,
) -> Any:
    """Encrypt: RSA with no padding, PKCS #1 or OAEP, in this process; AES in the worker."""
    return _crypt(_key(hKey), "encrypt", pbInput, pPaddingInfo, dwFlags, cbOutput)


@overload
def NCryptDecrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int = WHOLE,
) -> bytes: ...
@overload
def NCryptDecrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: None,
) -> int: ...
def NCryptDecrypt(
    hKey: NCryptKeyHandle,
    pbInput: bytes,
    pPaddingInfo: EncryptionPaddingInfo = None,
    dwFlags: int = 0,
    *,
    cbOutput: int | None = WHOLE,
) -> Any:
    """Decrypt. The size probe gives an upper bound.

    Raises ``NTE_PERM`` where the key's usage does not include decrypting.
    """
    return _crypt(_key(hKey), "decrypt", pbInput, pPaddingInfo, dwFlags, cbOutput)


def NCryptSecretAgreement(
    hPrivKey: NCryptKeyHandle, hPubKey: NCryptKeyHandle, dwFlags: int = 0
) -> NCryptSecretHandle:
    """Agree on a secret (ECDH). Both keys come from one provider; the secret stays in a worker."""
    private, public = _key(hPrivKey), _key(hPubKey)
    if private.table is not public.table:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, "the two keys come from different providers"
        )
    secret = private.table.secret_agreement(
        private.provider, private.object, public.object, dwFlags
    )
    return new_handle(
        NCryptSecretHandle,
        Target(private.provider_name, private.table, private.provider, secret),
    )


@overload
def NCryptDeriveKey(
    hSharedSecret: NCryptSecretHandle,
    pwszKDF: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbDerivedKey: int = 0,
) -> bytes: ...
@overload
def NCryptDeriveKey(
    hSharedSecret: NCryptSecretHandle,
    pwszKDF: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbDerivedKey: None,
) -> int: ...
def NCryptDeriveKey(
    hSharedSecret: NCryptSecretHandle,
    pwszKDF: str,
    pParameterList: Sequence[NCryptBuffer] | None = None,
    dwFlags: int = 0,
    *,
    cbDerivedKey: int | None = 0,
) -> Any:
    """A key from an agreed secret: HASH, HMAC, HKDF or TRUNCATE.

    ``cbDerivedKey`` bytes are wanted, 0 for as many as the function naturally gives; HASH, HMAC
    and TRUNCATE give fewer where they have no more, as in CNG.
    """
    target = target_of(hSharedSecret, NCryptSecretHandle)
    return target.table.derive_key(
        target.provider,
        target.object,
        _reference(pwszKDF),
        tuple(pParameterList or ()),
        cbDerivedKey or 0,
        dwFlags,
        probe=cbDerivedKey is None,
    )


# --- how ---------------------------------------------------------------------------------------


def _provider(handle: object) -> Target:
    return target_of(handle, NCryptProvHandle)


def _key(handle: object) -> Target:
    return target_of(handle, NCryptKeyHandle)


def _crypt(
    target: Target,
    function: str,
    data: bytes,
    info: EncryptionPaddingInfo,
    flags: int,
    size: int | None,
) -> Any:
    return _output(
        size,
        getattr(target.table, function),
        target.provider,
        target.object,
        bytes(_reference(data)),
        info,
        flags,
    )


def _key_handle(target: Target, key: Any) -> NCryptKeyHandle:
    return new_handle(
        NCryptKeyHandle, Target(target.provider_name, target.table, target.provider, key)
    )


def _reference(value: T | None) -> T:
    """A pointer that must not be NULL; CNG's argument check is that of its RPC stub."""
    if value is None:
        raise ncrypt_error(Status.RPC_X_NULL_REF_POINTER, "a required argument is None")
    return value


def _output(size: int | None, produce: Sized, *arguments: Any) -> Any:
    """CNG's output convention: the size, or the output if it fits."""
    if size is None:
        return produce(*arguments, probe=True)
    if size != WHOLE and (needed := produce(*arguments, probe=True)) > size:
        raise ncrypt_error(
            Status.NTE_BUFFER_TOO_SMALL, f"the output has {needed} bytes, the buffer {size}"
        )
    return produce(*arguments)


def _check_flags(flags: int) -> None:
    if flags & ~NCRYPT_SILENT_FLAG:
        raise ncrypt_error(Status.NTE_BAD_FLAGS, f"the flags {flags:#x} mean nothing here")
