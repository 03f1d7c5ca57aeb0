"""The NCrypt functions under their own names (ncrypt.h).

Parameters keep CNG's order; out-parameters are returned; counts disappear, because Python knows
lengths. Handles are small opaque objects. A status other than success raises `NCryptError`.

Functions with an output buffer take its size as a keyword: not given, the output is returned
whole; ``None`` is the size probe, which returns the size in bytes; a number that is too small is
``NTE_BUFFER_TOO_SMALL``.
"""

from keyiso.errors import NCryptError
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
)
from keyiso.ncrypt.blobs import NCryptExportKey, NCryptImportKey
from keyiso.ncrypt.key_life import (
    NCryptCreatePersistedKey,
    NCryptDeleteKey,
    NCryptEnumKeys,
    NCryptFinalizeKey,
    NCryptFreeBuffer,
    NCryptFreeObject,
    NCryptIsKeyHandle,
    NCryptNotifyChangeKey,
    NCryptOpenKey,
    NCryptTranslateHandle,
)
from keyiso.ncrypt.operations import (
    KeyisoSignHashes,
    NCryptDecrypt,
    NCryptDeriveKey,
    NCryptEncrypt,
    NCryptSecretAgreement,
    NCryptSignHash,
    NCryptVerifySignature,
)
from keyiso.ncrypt.properties import NCryptGetProperty, NCryptSetProperty
from keyiso.ncrypt.providers import (
    NCryptEnumAlgorithms,
    NCryptEnumStorageProviders,
    NCryptIsAlgSupported,
    NCryptOpenStorageProvider,
)
from keyiso.router import NCryptHandle, NCryptKeyHandle, NCryptProvHandle, NCryptSecretHandle

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
