"""What every function does about a handle, a pointer or a flag that is wrong.

One table of the functions: a new one is a line here, and then all of these rules hold for it.
"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from keyiso import ncrypt
from keyiso.flags import (
    KDF_USE_SECRET_AS_HMAC_KEY_FLAG,
    NCRYPT_DO_NOT_FINALIZE_FLAG,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_NO_KEY_VALIDATION,
    NCRYPT_NO_PADDING_FLAG,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_PAD_CIPHER_FLAG,
    NCRYPT_PAD_OAEP_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
    NCRYPT_PAD_PSS_FLAG,
    NCRYPT_PERSIST_FLAG,
    NCRYPT_PERSIST_ONLY_FLAG,
    NCRYPT_PREFER_VBS_FLAG,
    NCRYPT_REQUIRE_VBS_FLAG,
    NCRYPT_SILENT_FLAG,
    NCRYPT_USE_PER_BOOT_KEY_FLAG,
)
from keyiso.identifiers import (
    BCRYPT_KDF_HASH,
    BCRYPT_PUBLIC_KEY_BLOB,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_LENGTH_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
)
from keyiso.status import Status
from tests.conformance.cases import ECDSA_P256, SHA256_DIGEST, begin, make
from tests.conformance.independent import dword
from tests.conformance.statuses import fails

Provider = ncrypt.NCryptProvHandle
Key = ncrypt.NCryptKeyHandle

VBS = NCRYPT_REQUIRE_VBS_FLAG | NCRYPT_PREFER_VBS_FLAG | NCRYPT_USE_PER_BOOT_KEY_FLAG
ENCRYPTION = (
    NCRYPT_NO_PADDING_FLAG
    | NCRYPT_PAD_PKCS1_FLAG
    | NCRYPT_PAD_OAEP_FLAG
    | NCRYPT_PAD_CIPHER_FLAG
    | NCRYPT_SILENT_FLAG
)
CREATE = NCRYPT_MACHINE_KEY_FLAG | NCRYPT_OVERWRITE_KEY_FLAG | NCRYPT_SILENT_FLAG | VBS


@dataclass(frozen=True)
class Function:
    """One function, called with arguments that are right but for what a test puts in."""

    call: Callable[..., Any]
    """Given the handle, and the flags where it has some."""
    flags: int | None = None
    """Every flag that it takes; None for a function without flags."""


def _no_handle(function: Callable[[int], Any]) -> Callable[..., Any]:
    return lambda handle, flags=0: function(flags)


ON_PROVIDERS = {
    "EnumAlgorithms": Function(
        lambda handle, flags=0: ncrypt.NCryptEnumAlgorithms(handle, 0, flags), NCRYPT_SILENT_FLAG
    ),
    "IsAlgSupported": Function(
        lambda handle, flags=0: ncrypt.NCryptIsAlgSupported(handle, "RSA", flags),
        NCRYPT_SILENT_FLAG,
    ),
    "IsAlgSupported of one that is not": Function(
        lambda handle, flags=0: ncrypt.NCryptIsAlgSupported(handle, "RSA_SIGN", flags),
        NCRYPT_SILENT_FLAG,
    ),
    "EnumKeys": Function(
        lambda handle, flags=0: ncrypt.NCryptEnumKeys(handle, None, None, flags),
        NCRYPT_MACHINE_KEY_FLAG | NCRYPT_SILENT_FLAG,
    ),
    "OpenKey": Function(
        lambda handle, flags=0: ncrypt.NCryptOpenKey(handle, "no such key", 0, flags),
        NCRYPT_MACHINE_KEY_FLAG | NCRYPT_SILENT_FLAG,
    ),
    "CreatePersistedKey": Function(
        lambda handle, flags=0: ncrypt.NCryptCreatePersistedKey(
            handle, "ECDSA_P256", None, 0, flags
        ),
        CREATE,
    ),
    "ImportKey": Function(
        lambda handle, flags=0: ncrypt.NCryptImportKey(
            handle, None, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, None, b"no key", flags
        ),
        CREATE | NCRYPT_NO_KEY_VALIDATION | NCRYPT_DO_NOT_FINALIZE_FLAG,
    ),
    "ImportKey of a public key": Function(
        lambda handle, flags=0: ncrypt.NCryptImportKey(
            handle, None, BCRYPT_PUBLIC_KEY_BLOB, None, b"no key", flags
        ),
        CREATE | NCRYPT_NO_KEY_VALIDATION | NCRYPT_DO_NOT_FINALIZE_FLAG,
    ),
}
ON_KEYS = {
    "FinalizeKey": Function(
        ncrypt.NCryptFinalizeKey, NCRYPT_NO_KEY_VALIDATION | NCRYPT_SILENT_FLAG
    ),
    "SignHash": Function(
        lambda handle, flags=0: ncrypt.NCryptSignHash(handle, None, SHA256_DIGEST, flags),
        NCRYPT_PAD_PKCS1_FLAG | NCRYPT_PAD_PSS_FLAG | NCRYPT_SILENT_FLAG,
    ),
    "SignHash, only the size": Function(
        lambda handle, flags=0: ncrypt.NCryptSignHash(
            handle, None, SHA256_DIGEST, flags, cbSignature=None
        ),
        NCRYPT_PAD_PKCS1_FLAG | NCRYPT_PAD_PSS_FLAG | NCRYPT_SILENT_FLAG,
    ),
    "VerifySignature": Function(
        lambda handle, flags=0: ncrypt.NCryptVerifySignature(
            handle, None, SHA256_DIGEST, b"x" * 64, flags
        ),
        NCRYPT_PAD_PKCS1_FLAG | NCRYPT_PAD_PSS_FLAG | NCRYPT_SILENT_FLAG,
    ),
    "ExportKey": Function(
        lambda handle, flags=0: ncrypt.NCryptExportKey(
            handle, None, BCRYPT_PUBLIC_KEY_BLOB, None, flags
        ),
        NCRYPT_SILENT_FLAG,
    ),
    "Encrypt": Function(
        lambda handle, flags=0: ncrypt.NCryptEncrypt(handle, SHA256_DIGEST, None, flags),
        ENCRYPTION,
    ),
    "Encrypt, only the size": Function(
        lambda handle, flags=0: ncrypt.NCryptEncrypt(
            handle, SHA256_DIGEST, None, flags, cbOutput=None
        ),
        ENCRYPTION,
    ),
    "Decrypt": Function(
        lambda handle, flags=0: ncrypt.NCryptDecrypt(handle, SHA256_DIGEST, None, flags),
        ENCRYPTION,
    ),
    "SecretAgreement": Function(
        lambda handle, flags=0: ncrypt.NCryptSecretAgreement(handle, handle, flags),
        NCRYPT_SILENT_FLAG,
    ),
    "DeleteKey": Function(ncrypt.NCryptDeleteKey, NCRYPT_SILENT_FLAG),
}
ON_SECRETS = {
    "DeriveKey": Function(
        lambda handle, flags=0: ncrypt.NCryptDeriveKey(handle, BCRYPT_KDF_HASH, None, flags),
        KDF_USE_SECRET_AS_HMAC_KEY_FLAG | NCRYPT_SILENT_FLAG,
    ),
}
ON_BOTH = {
    "GetProperty": Function(
        lambda handle, flags=0: ncrypt.NCryptGetProperty(handle, NCRYPT_NAME_PROPERTY, flags),
        NCRYPT_PERSIST_ONLY_FLAG | NCRYPT_SILENT_FLAG,
    ),
    "GetProperty, only the size": Function(
        lambda handle, flags=0: ncrypt.NCryptGetProperty(
            handle, NCRYPT_LENGTH_PROPERTY, flags, cbOutput=None
        ),
        NCRYPT_PERSIST_ONLY_FLAG | NCRYPT_SILENT_FLAG,
    ),
    "FreeObject": Function(ncrypt.NCryptFreeObject),
}
SET_PROPERTY = {
    "SetProperty": Function(
        lambda handle, flags=0: ncrypt.NCryptSetProperty(
            handle, NCRYPT_KEY_USAGE_PROPERTY, dword(2), flags
        ),
        NCRYPT_PERSIST_FLAG | NCRYPT_PERSIST_ONLY_FLAG | NCRYPT_SILENT_FLAG,
    ),
}
WITHOUT_A_HANDLE = {
    "EnumStorageProviders": Function(
        _no_handle(ncrypt.NCryptEnumStorageProviders), NCRYPT_SILENT_FLAG
    ),
}


def by_name(*tables: dict[str, Function]) -> pytest.MarkDecorator:
    functions = {name: function for table in tables for name, function in table.items()}
    return pytest.mark.parametrize("function", functions.values(), ids=functions.keys())


def with_flags(*tables: dict[str, Function]) -> pytest.MarkDecorator:
    return by_name(*({n: f for n, f in table.items() if f.flags is not None} for table in tables))


# --- handles -----------------------------------------------------------------------------------


def freed_key(provider: Provider) -> Key:
    key = make(provider)
    ncrypt.NCryptFreeObject(key)
    return key


def deleted_key(provider: Provider) -> Key:
    key = make(provider)
    ncrypt.NCryptDeleteKey(key)
    return key


def freed_provider(provider_name: str) -> Provider:
    handle = ncrypt.NCryptOpenStorageProvider(provider_name)
    ncrypt.NCryptFreeObject(handle)
    return handle


def agreed(provider: Provider) -> ncrypt.NCryptSecretHandle:
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDH_P256")
    ncrypt.NCryptFinalizeKey(key)
    return ncrypt.NCryptSecretAgreement(key, key)


def no_handles(provider: Provider, provider_name: str) -> dict[str, object]:
    """What is neither an open key nor an open provider."""
    return {
        "NULL": None,
        "0": 0,
        "a number": 0x7F0000001000,
        "some memory": bytearray(50),
        "a name": "Microsoft Software Key Storage Provider",
        "a freed key": freed_key(provider),
        "a deleted key": deleted_key(provider),
        "a freed provider": freed_provider(provider_name),
        "a forged key": object.__new__(ncrypt.NCryptKeyHandle),
        "a forged provider": object.__new__(ncrypt.NCryptProvHandle),
        "a forged secret": object.__new__(ncrypt.NCryptSecretHandle),
    }


@by_name(ON_PROVIDERS, ON_KEYS, ON_SECRETS, ON_BOTH, SET_PROPERTY)
def test_what_is_no_handle(provider: Provider, provider_name: str, function: Function) -> None:
    for title, handle in no_handles(provider, provider_name).items():
        with fails(Status.NTE_INVALID_HANDLE):
            function.call(handle)
        assert not ncrypt.NCryptIsKeyHandle(handle), title


@by_name(ON_KEYS, ON_SECRETS)
def test_a_provider_is_neither_a_key_nor_a_secret(provider: Provider, function: Function) -> None:
    with fails(Status.NTE_INVALID_HANDLE):
        function.call(provider)


@by_name(ON_PROVIDERS, ON_KEYS, SET_PROPERTY)
def test_a_secret_is_neither_a_key_nor_a_provider(provider: Provider, function: Function) -> None:
    secret = agreed(provider)

    with fails(Status.NTE_INVALID_HANDLE):
        function.call(secret)
    assert not ncrypt.NCryptIsKeyHandle(secret)


@by_name(ON_SECRETS)
def test_a_key_is_not_a_secret(provider: Provider, function: Function) -> None:
    with fails(Status.NTE_INVALID_HANDLE):
        function.call(make(provider))


def test_a_secret_is_freed_once(provider: Provider) -> None:
    secret = agreed(provider)
    assert ncrypt.NCryptDeriveKey(secret, BCRYPT_KDF_HASH)

    ncrypt.NCryptFreeObject(secret)

    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptDeriveKey(secret, BCRYPT_KDF_HASH)
    with fails(Status.NTE_INVALID_HANDLE):
        ncrypt.NCryptFreeObject(secret)


@by_name(ON_PROVIDERS)
def test_a_key_is_not_a_provider(provider: Provider, function: Function) -> None:
    for key in (make(provider), begin(provider)):
        with fails(Status.NTE_INVALID_HANDLE):
            function.call(key)
        assert ncrypt.NCryptIsKeyHandle(key)


def test_is_key_handle(provider: Provider) -> None:
    key = begin(provider)
    assert ncrypt.NCryptIsKeyHandle(key)
    assert not ncrypt.NCryptIsKeyHandle(provider)

    ncrypt.NCryptFinalizeKey(key)
    assert ncrypt.NCryptIsKeyHandle(key)

    ncrypt.NCryptFreeObject(key)
    assert not ncrypt.NCryptIsKeyHandle(key)


def test_both_handles_of_an_agreement(provider: Provider, provider_name: str) -> None:
    key = ncrypt.NCryptCreatePersistedKey(provider, "ECDH_P256")
    ncrypt.NCryptFinalizeKey(key)
    for handle in (*no_handles(provider, provider_name).values(), provider):
        wrong: Any = handle
        with fails(Status.NTE_INVALID_HANDLE):
            ncrypt.NCryptSecretAgreement(key, wrong)
        with fails(Status.NTE_INVALID_HANDLE):
            ncrypt.NCryptSecretAgreement(wrong, key)


@pytest.mark.parametrize("kdf", ["TLS_PRF", "SP800_56A_CONCAT", "hash", "no such KDF", ""])
def test_a_kdf_that_is_not_offered(provider: Provider, kdf: str) -> None:
    with fails(Status.NTE_NOT_SUPPORTED):
        ncrypt.NCryptDeriveKey(agreed(provider), kdf)


@pytest.mark.parametrize("position", ["import", "export"])
def test_the_second_handle_of_a_function(
    provider: Provider, provider_name: str, position: str
) -> None:
    """The key that would wrap another must be a key, too; no handle is NULL, and allowed."""
    key = make(provider)
    wrong = no_handles(provider, provider_name)
    del wrong["NULL"]
    for handle in (*wrong.values(), provider):
        second: Any = handle
        with fails(Status.NTE_INVALID_HANDLE):
            if position == "import":
                ncrypt.NCryptImportKey(provider, second, BCRYPT_PUBLIC_KEY_BLOB, None, b"")
            else:
                ncrypt.NCryptExportKey(key, second, BCRYPT_PUBLIC_KEY_BLOB)


@pytest.mark.parametrize(
    "kind",
    [
        ncrypt.NCryptHandle,
        ncrypt.NCryptProvHandle,
        ncrypt.NCryptKeyHandle,
        ncrypt.NCryptSecretHandle,
    ],
)
def test_handles_cannot_be_made_by_hand(kind: type[ncrypt.NCryptHandle]) -> None:
    with pytest.raises(TypeError):
        kind()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_handle_cannot_be_copied(
    provider: Provider, duplicate: Callable[[object], object]
) -> None:
    """It would be freed twice."""
    for handle in (provider, make(provider), agreed(provider)):
        with pytest.raises(TypeError):
            duplicate(handle)


# --- pointers ----------------------------------------------------------------------------------

NULL: Any = None
POINTERS: dict[str, Callable[[Provider, Key], Any]] = {
    "IsAlgSupported pszAlgId": lambda provider, key: ncrypt.NCryptIsAlgSupported(provider, NULL),
    "CreatePersistedKey pszAlgId": lambda provider, key: ncrypt.NCryptCreatePersistedKey(
        provider, NULL
    ),
    "OpenKey pszKeyName": lambda provider, key: ncrypt.NCryptOpenKey(provider, NULL),
    "GetProperty pszProperty": lambda provider, key: ncrypt.NCryptGetProperty(key, NULL),
    "GetProperty pszProperty of a provider": lambda provider, key: ncrypt.NCryptGetProperty(
        provider, NULL
    ),
    "SetProperty pszProperty": lambda provider, key: ncrypt.NCryptSetProperty(key, NULL, b"x"),
    "SetProperty pbInput": lambda provider, key: ncrypt.NCryptSetProperty(
        key, NCRYPT_LENGTH_PROPERTY, NULL
    ),
    "ImportKey pszBlobType": lambda provider, key: ncrypt.NCryptImportKey(
        provider, None, NULL, None, b"x"
    ),
    "ImportKey pbData": lambda provider, key: ncrypt.NCryptImportKey(
        provider, None, BCRYPT_PUBLIC_KEY_BLOB, None, NULL
    ),
    "ExportKey pszBlobType": lambda provider, key: ncrypt.NCryptExportKey(key, None, NULL),
    "SignHash pbHashValue": lambda provider, key: ncrypt.NCryptSignHash(key, None, NULL),
    "Encrypt pbInput": lambda provider, key: ncrypt.NCryptEncrypt(key, NULL, None, 2),
    "Decrypt pbInput": lambda provider, key: ncrypt.NCryptDecrypt(key, NULL, None, 2),
    "DeriveKey pwszKDF": lambda provider, key: ncrypt.NCryptDeriveKey(agreed(provider), NULL),
    "VerifySignature pbHashValue": lambda provider, key: ncrypt.NCryptVerifySignature(
        key, None, NULL, b"x" * 64
    ),
    "VerifySignature pbSignature": lambda provider, key: ncrypt.NCryptVerifySignature(
        key, None, SHA256_DIGEST, NULL
    ),
}


@pytest.mark.parametrize("call", POINTERS.values(), ids=POINTERS.keys())
def test_a_pointer_that_must_not_be_null(
    provider: Provider, call: Callable[[Provider, Key], Any]
) -> None:
    """What the stub of the RPC call answers on Windows: 0x800706F4."""
    key = make(provider)

    with fails(Status.RPC_X_NULL_REF_POINTER) as caught:
        call(provider, key)

    assert caught.value.status == 0x800706F4
    ECDSA_P256.sign(key)


# --- flags -------------------------------------------------------------------------------------


def right_handle(provider: Provider, function: Function, name: str | None = None) -> object:
    """A handle of the kind that the function takes."""
    if function in ON_SECRETS.values():
        return agreed(provider)
    if function in SET_PROPERTY.values():
        return begin(provider)
    if function in (*ON_KEYS.values(), *ON_BOTH.values()):
        return make(provider, name=name)
    return provider


@with_flags(ON_PROVIDERS, ON_KEYS, ON_SECRETS, ON_BOTH, SET_PROPERTY, WITHOUT_A_HANDLE)
def test_each_flag_that_a_function_does_not_take(
    provider: Provider, name: str, function: Function
) -> None:
    """Bit by bit: what is not documented for a function is refused, and changes nothing."""
    assert function.flags is not None
    handle = right_handle(provider, function, name)

    taken = {
        f"{1 << bit:#010x}"
        for bit in range(32)
        if not 1 << bit & function.flags and not refuses(function, handle, 1 << bit)
    }

    assert taken == set()


@with_flags(ON_PROVIDERS, ON_KEYS, ON_SECRETS, ON_BOTH, SET_PROPERTY, WITHOUT_A_HANDLE)
def test_flags_that_are_junk(provider: Provider, function: Function) -> None:
    """Junk together with a flag that is taken; the numbers are those of known tests of CNG."""
    assert function.flags is not None
    handle = right_handle(provider, function)

    for junk in (20, 49 | 0x4000, 51342, -1):
        if not junk & ~function.flags:
            continue  # not junk here
        assert refuses(function, handle, junk), junk
        assert refuses(function, handle, junk | NCRYPT_SILENT_FLAG), junk


def refuses(function: Function, handle: object, flags: int) -> bool:
    """The call ends with NTE_BAD_FLAGS, whatever else is wrong with it."""
    try:
        function.call(handle, flags)
    except ncrypt.NCryptError as error:
        return error.status == Status.NTE_BAD_FLAGS
    return False


def test_open_storage_provider_takes_no_flags(provider: Provider, provider_name: str) -> None:
    refused = [
        bit
        for bit in range(32)
        if refuses(
            Function(lambda handle, flags: ncrypt.NCryptOpenStorageProvider(handle, flags)),
            provider_name,
            1 << bit,
        )
    ]

    # NCRYPT_SILENT_FLAG is taken almost everywhere, and says nothing here.
    assert refused == [bit for bit in range(32) if 1 << bit != NCRYPT_SILENT_FLAG]
