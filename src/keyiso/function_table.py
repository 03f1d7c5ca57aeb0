"""What the author of a key storage provider reads: the function table and its structures.

A provider is a module with ``get_key_storage_interface(provider_name, flags)``, which returns a
`KeyStorageFunctionTable`. Members stand in the order of NCRYPT_KEY_STORAGE_FUNCTION_TABLE
(ncrypt_provider.h), version 3.0, the KEM members after them, and keyiso's own at the end.
Out-parameters are returned; a status other than success is an `NCryptError`. ``Provider``,
``Key`` and ``Secret`` are whatever objects the provider makes; the router gives them back and
never looks into them.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

Provider = Any
Key = Any
Secret = Any

INTERFACE_VERSION: Final = (3, 0)
"""NCRYPT_KEY_STORAGE_INTERFACE_VERSION_3."""


@dataclass(frozen=True, slots=True)
class NCryptAlgorithmName:
    """One algorithm of a provider (NCryptEnumAlgorithms)."""

    pszName: str
    dwClass: int
    dwAlgOperations: int
    dwFlags: int = 0


@dataclass(frozen=True, slots=True)
class NCryptKeyName:
    """One key of a provider (NCryptEnumKeys)."""

    pszName: str
    pszAlgid: str
    dwLegacyKeySpec: int = 0
    dwFlags: int = 0


@dataclass(frozen=True, slots=True)
class NCryptProviderName:
    """One registered provider (NCryptEnumStorageProviders)."""

    pszName: str
    pszComment: str


@dataclass(frozen=True, slots=True)
class HCRYPTPROV:
    """What a CryptoAPI handle stands for: there are no such handles here, so it is by name."""

    pszProvider: str
    pszContainer: str
    dwFlags: int = 0
    """CRYPT_MACHINE_KEYSET for a container of the machine."""


@dataclass(frozen=True, slots=True)
class NCryptBuffer:
    """One entry of a parameter list."""

    BufferType: int
    pvBuffer: bytes | str
    """Bytes, or a string where the type holds one."""


@dataclass(frozen=True, slots=True)
class BCRYPT_PKCS1_PADDING_INFO:
    """RSA PKCS #1 v1.5 signatures; without an algorithm the caller gives a whole DigestInfo."""

    pszAlgId: str | None = None


@dataclass(frozen=True, slots=True)
class BCRYPT_PSS_PADDING_INFO:
    """RSA-PSS signatures; the mask generation uses the same hash."""

    pszAlgId: str
    cbSalt: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class BCRYPT_OAEP_PADDING_INFO:
    """RSA-OAEP encryption; the mask generation uses the same hash."""

    pszAlgId: str
    pbLabel: bytes = b""


@dataclass(frozen=True, slots=True)
class BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO:
    """AES-GCM. ``pbTag`` is written when encrypting and read when decrypting (16 bytes)."""

    pbNonce: bytes
    """12 bytes, never the same twice under one key."""
    pbTag: bytearray
    pbAuthData: bytes = b""


@dataclass(frozen=True, slots=True)
class NCRYPT_CIPHER_PADDING_INFO:
    """AES through NCryptEncrypt: flags, initialization vector, and for GCM the rest."""

    dwFlags: int = 0
    """NCRYPT_CIPHER_NO_PADDING_FLAG or NCRYPT_CIPHER_BLOCK_PADDING_FLAG."""
    pbIV: bytes = b""
    """CBC: 16 bytes."""
    pbOtherInfo: BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO | None = None
    """GCM."""


@dataclass(frozen=True, slots=True)
class NCRYPT_UI_POLICY:
    """The value of "UI Policy": how people are told of a key."""

    pszCreationTitle: str = ""
    pszFriendlyName: str = ""
    pszDescription: str = ""
    dwFlags: int = 0
    """NCRYPT_UI_*."""

    def pack(self) -> bytes:
        """NCRYPT_UI_POLICY_BLOB, the form without pointers: version, flags, the lengths of the
        three strings in bytes, the strings in UTF-16-LE with their NUL.
        """
        texts = [
            (text + "\0").encode("utf-16-le", "surrogatepass") if text else b""
            for text in (self.pszCreationTitle, self.pszFriendlyName, self.pszDescription)
        ]
        return _UI_POLICY.pack(1, self.dwFlags, *map(len, texts)) + b"".join(texts)

    @classmethod
    def unpack(cls, blob: bytes) -> "NCRYPT_UI_POLICY":
        """The policy of its bytes. Raises ``NTE_INVALID_PARAMETER`` for anything else."""
        if len(blob) < _UI_POLICY.size:
            raise _no_ui_policy()
        version, flags, *lengths = _UI_POLICY.unpack_from(blob)
        if version != 1 or len(blob) != _UI_POLICY.size + sum(lengths):
            raise _no_ui_policy()
        texts, at = [], _UI_POLICY.size
        for length in lengths:
            try:
                text = blob[at : at + length].decode("utf-16-le", "surrogatepass")
            except UnicodeDecodeError:
                raise _no_ui_policy() from None
            texts.append(text.removesuffix("\0"))
            at += length
        return cls(texts[0], texts[1], texts[2], flags)


_UI_POLICY: Final = struct.Struct("<5I")


def _no_ui_policy() -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, "this is not an NCRYPT_UI_POLICY_BLOB of version 1"
    )


EncryptionPaddingInfo = BCRYPT_OAEP_PADDING_INFO | NCRYPT_CIPHER_PADDING_INFO | None
PaddingInfo = BCRYPT_PKCS1_PADDING_INFO | BCRYPT_PSS_PADDING_INFO | None


Sized = Callable[..., Any]
"""A member whose output has a length that can be asked for: with ``probe=True`` it returns the
length in bytes and does nothing else."""


def _not_supported(*arguments: Any, **options: Any) -> NoReturn:
    raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "the provider does not have this function")


def _nothing_to_free(buffer: Any) -> None:
    """Python frees buffers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStorageFunctionTable:
    """NCRYPT_KEY_STORAGE_FUNCTION_TABLE. What a provider leaves out is ``NTE_NOT_SUPPORTED``."""

    version: tuple[int, int] = INTERFACE_VERSION
    open_provider: Callable[[str, int], Provider]
    """(provider name, flags)"""
    open_key: Callable[[Provider, str, int, int], Key]
    """(provider, key name, legacy key spec, flags)"""
    create_persisted_key: Callable[[Provider, str, str | None, int, int], Key]
    """(provider, algorithm, key name or None for an ephemeral key, legacy key spec, flags)"""
    get_provider_property: Callable[[Provider, str, int], bytes]
    """(provider, property, flags)"""
    get_key_property: Callable[[Provider, Key, str, int], bytes]
    """(provider, key, property, flags)"""
    set_provider_property: Callable[[Provider, str, bytes, int], None] = _not_supported
    """(provider, property, value, flags)"""
    set_key_property: Callable[[Provider, Key, str, bytes, int], None] = _not_supported
    """(provider, key, property, value, flags)"""
    finalize_key: Callable[[Provider, Key, int], None]
    """(provider, key, flags)"""
    delete_key: Callable[[Provider, Key, int], None]
    """(provider, key, flags)"""
    free_provider: Callable[[Provider], None]
    free_key: Callable[[Provider, Key], None]
    free_buffer: Callable[[Any], None] = _nothing_to_free
    encrypt: Sized = _not_supported
    """(provider, key, message, padding info, flags)"""
    decrypt: Sized = _not_supported
    """(provider, key, ciphertext, padding info, flags)"""
    is_alg_supported: Callable[[Provider, str, int], None]
    """(provider, algorithm, flags); raises ``NTE_NOT_SUPPORTED``"""
    enum_algorithms: Callable[[Provider, int, int], Sequence[NCryptAlgorithmName]]
    """(provider, operations or 0 for all, flags)"""
    enum_keys: Callable[[Provider, None, Any, int], tuple[NCryptKeyName, Any]]
    """(provider, scope, state, flags); the state is None at first; raises
    ``NTE_NO_MORE_ITEMS``"""
    import_key: Callable[[Provider, Key, str, Sequence[NCryptBuffer], bytes, int], Key] = (
        _not_supported
    )
    """(provider, import key or None, blob type, parameters, data, flags)"""
    export_key: Sized = _not_supported
    """(provider, key, export key or None, blob type, parameters, flags)"""
    sign_hash: Sized = _not_supported
    """(provider, key, padding info, hash, flags)"""
    verify_signature: Callable[[Provider, Key, PaddingInfo, bytes, bytes, int], None] = (
        _not_supported
    )
    """(provider, key, padding info, hash, signature, flags); raises ``NTE_BAD_SIGNATURE``"""
    prompt_user: Callable[[Provider, Key, str, int], None] = _not_supported
    notify_change_key: Callable[[Provider, Any, int], Any] = _not_supported
    """(provider, event or None, flags); returns the event, or None when it was unregistered"""
    secret_agreement: Callable[[Provider, Key, Key, int], Secret] = _not_supported
    """(provider, private key, public key, flags)"""
    derive_key: Sized = _not_supported
    """(provider, secret, KDF, parameters, size or 0 for all, flags)"""
    free_secret: Callable[[Provider, Secret], None] = _not_supported
    key_derivation: Sized = _not_supported
    create_claim: Sized = _not_supported
    verify_claim: Callable[..., Any] = _not_supported
    encapsulate: Callable[..., Any] = _not_supported
    decapsulate: Sized = _not_supported
    sign_hashes: Callable[[Provider, Key, PaddingInfo, Sequence[bytes], int], Sequence[bytes]] = (
        _not_supported
    )
    """(provider, key, padding info, hashes, flags); keyiso's own, for who has many hashes to sign.
    Where it is ``NTE_NOT_SUPPORTED``, ``sign_hash`` is called for each."""
