"""A key of the software provider: draft, ready, or public only."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, get_args

from keyiso.client.reference import KeyReference
from keyiso.crypto.algorithms import ALGORITHMS, Algorithm, check_length
from keyiso.crypto.ciphers import BLOCK_BYTES, Mode
from keyiso.crypto.key_header import KeyHeader, Scope
from keyiso.crypto.key_types import PublicKey, bits_of
from keyiso.crypto.public_keys import load_public_key
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_ALLOW_ALL_USAGES,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_SIGNATURE_OPERATION,
)
from keyiso.identifiers import (
    KEYISO_ORIGIN_PROPERTY,
    NCRYPT_ALGORITHM_GROUP_PROPERTY,
    NCRYPT_ALGORITHM_PROPERTY,
    NCRYPT_BLOCK_LENGTH_PROPERTY,
    NCRYPT_CERTIFICATE_PROPERTY,
    NCRYPT_CHAINING_MODE_PROPERTY,
    NCRYPT_EXPORT_POLICY_PROPERTY,
    NCRYPT_KEY_TYPE_PROPERTY,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_LAST_MODIFIED_PROPERTY,
    NCRYPT_LENGTH_PROPERTY,
    NCRYPT_LENGTHS_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_PUBLIC_LENGTH_PROPERTY,
    NCRYPT_SECURITY_DESCR_PROPERTY,
    NCRYPT_SIGNATURE_LENGTH_PROPERTY,
    NCRYPT_UI_POLICY_PROPERTY,
    NCRYPT_UNIQUE_NAME_PROPERTY,
    NCRYPT_USE_CONTEXT_PROPERTY,
    NCRYPT_WINDOW_HANDLE_PROPERTY,
)
from keyiso.names import decode_name
from keyiso.status import Status

_EXPORT_POLICY_BITS: Final = 0x1F


DEFAULT_CHAINING_MODE: Final[Mode] = "ChainingModeGCM"
"""CNG's default is CBC, which notices no change of a ciphertext."""


@dataclass(slots=True)
class Draft:
    """What a key is to become; it exists only in the application until it is finalized."""

    scope: Scope
    name: bytes
    """UTF-16-LE; empty for an ephemeral key."""
    overwrite: bool
    algorithm: Algorithm | None
    """None for an import: the key says it."""
    bits: int
    imported: bytes | None = field(default=None, repr=False)
    """An import that waits for its finalizing."""
    usage: int = NCRYPT_ALLOW_ALL_USAGES
    export_policy: int = 0


class SoftwareKey:
    """What a key handle of the software provider stands for.

    It is a draft, then a reference; or, for an imported public key, only that.
    """

    def __init__(
        self,
        *,
        draft: Draft | None = None,
        reference: KeyReference | None = None,
        public_key: tuple[PublicKey, Algorithm] | None = None,
    ) -> None:
        self.draft = draft
        self.reference = reference
        self.public_key: PublicKey | None = None
        self.chaining_mode = DEFAULT_CHAINING_MODE
        """AES: of this handle, not of the key."""
        if reference is not None:
            self.become(reference)
        if public_key is not None:
            self.public_key, self._public_algorithm = public_key

    def become(self, reference: KeyReference) -> None:
        """The draft was finalized."""
        self.draft = None
        self.reference = reference
        der = reference.header.public_key
        self.public_key = load_public_key(der) if der else None

    def ready(self) -> KeyReference:
        """The finalized key. Raises ``NTE_BAD_KEY_STATE`` before that."""
        if self.draft is not None:
            raise _not_finalized()
        if self.reference is None:
            raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "this handle has only a public key")
        return self.reference

    def public(self) -> PublicKey:
        """The public key. Raises ``NTE_BAD_KEY_STATE`` before the key is finalized, and
        ``NTE_NOT_SUPPORTED`` for a key that has none.
        """
        if self.public_key is None:
            self.ready()
            raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "an AES key has no public key")
        return self.public_key

    @property
    def header(self) -> KeyHeader | None:
        return None if self.reference is None else self.reference.header

    def get_property(self, name: str) -> bytes:
        """A property's value. Raises ``NTE_NOT_SUPPORTED`` for one that this key has not."""
        if name in _ABSENT:
            raise ncrypt_error(_ABSENT[name], f"the key has no '{name}'")
        getter = _GETTERS.get(name)
        if getter is None:
            raise not_supported_property(name)
        return getter(self)

    def set_property(self, name: str, value: bytes) -> None:
        """Set what can only be set before the key is finalized."""
        if name == NCRYPT_CHAINING_MODE_PROPERTY:
            self._set_chaining_mode(value)
            return
        if name not in _SETTERS:
            raise not_supported_property(name)
        if self.draft is None:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                f"'{name}' can only be set before the key is finalized",
            )
        _SETTERS[name](self.draft, _dword_of(name, value))

    @property
    def algorithm(self) -> Algorithm:
        """The key's algorithm. Raises ``NTE_BAD_KEY_STATE`` for an import not yet finalized."""
        if self.draft is not None:
            if self.draft.algorithm is None:
                raise _not_finalized()
            return self.draft.algorithm
        if self.header is not None:
            return ALGORITHMS[self.header.algorithm]
        return self._public_algorithm

    @property
    def bits(self) -> int:
        """The length. Raises ``NTE_BAD_KEY_STATE`` for an import not yet finalized."""
        if self.draft is not None:
            if self.draft.imported is not None:
                raise _not_finalized()
            return self.draft.bits
        return self.header.bits if self.header is not None else bits_of(self.public())

    def _set_chaining_mode(self, value: bytes) -> None:
        modes = {utf16(mode): mode for mode in get_args(Mode)}
        mode = modes.get(value) or modes.get(value + b"\0\0")
        if self.algorithm.family != "aes" or mode is None:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "the chaining mode is not one of this key's algorithm",
                f"AES has {', '.join(get_args(Mode))}.",
            )
        self.chaining_mode = mode


def dword(value: int) -> bytes:
    """A DWORD property."""
    return struct.pack("<I", value)


def utf16(text: str) -> bytes:
    """A string property: UTF-16-LE with its NUL."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def not_supported_property(name: str) -> NCryptError:
    """``NTE_NOT_SUPPORTED``."""
    return ncrypt_error(Status.NTE_NOT_SUPPORTED, f"there is no property {name!r:.80} here")


def _name(key: SoftwareKey) -> bytes:
    name = key.draft.name if key.draft is not None else key.header.name if key.header else b""
    if not name:
        raise not_supported_property(NCRYPT_NAME_PROPERTY)
    return utf16(decode_name(name))


def _unique_name(key: SoftwareKey) -> bytes:
    if key.header is None or not key.header.name:
        raise not_supported_property(NCRYPT_UNIQUE_NAME_PROPERTY)
    return utf16(key.header.key_id.hex())


def _usage(key: SoftwareKey) -> bytes:
    if key.draft is not None:
        return dword(key.draft.usage)
    return dword(key.header.usage if key.header else NCRYPT_ALLOW_ALL_USAGES)


def _export_policy(key: SoftwareKey) -> bytes:
    if key.draft is not None:
        return dword(key.draft.export_policy)
    return dword(key.header.export_policy if key.header else 0)


def _key_type(key: SoftwareKey) -> bytes:
    scope = key.draft.scope if key.draft is not None else key.header.scope if key.header else ""
    return dword(NCRYPT_MACHINE_KEY_FLAG if scope == "machine" else 0)


def _signature_length(key: SoftwareKey) -> bytes:
    """Bytes; known before the key is made, from its algorithm and length."""
    if not key.algorithm.operations & NCRYPT_SIGNATURE_OPERATION:
        raise not_supported_property(NCRYPT_SIGNATURE_LENGTH_PROPERTY)
    size = (key.bits + 7) // 8
    return dword(size if key.algorithm.family == "rsa" else 2 * size)


def _block_length(key: SoftwareKey) -> bytes:
    """RSA: the modulus in bytes. AES: its block."""
    match key.algorithm.family:
        case "rsa":
            return dword((key.bits + 7) // 8)
        case "aes":
            return dword(BLOCK_BYTES)
    raise not_supported_property(NCRYPT_BLOCK_LENGTH_PROPERTY)


def _chaining_mode(key: SoftwareKey) -> bytes:
    if key.algorithm.family != "aes":
        raise not_supported_property(NCRYPT_CHAINING_MODE_PROPERTY)
    return utf16(key.chaining_mode)


def _lengths(key: SoftwareKey) -> bytes:
    known = key.algorithm.lengths
    return struct.pack("<4I", known.minimum, known.maximum, known.increment, known.default)


_ABSENT: Final[Mapping[str, Status]] = MappingProxyType(
    {
        NCRYPT_UI_POLICY_PROPERTY: Status.NTE_NOT_FOUND,
        NCRYPT_WINDOW_HANDLE_PROPERTY: Status.NTE_NOT_FOUND,
        NCRYPT_USE_CONTEXT_PROPERTY: Status.NTE_NOT_FOUND,
        NCRYPT_LAST_MODIFIED_PROPERTY: Status.NTE_NOT_FOUND,
        NCRYPT_CERTIFICATE_PROPERTY: Status.NTE_NOT_FOUND,
        # Its parts are asked for by flags, none of which is known here.
        NCRYPT_SECURITY_DESCR_PROPERTY: Status.NTE_BAD_FLAGS,
    }
)
"""What the Microsoft software provider knows and a key need not have."""

_GETTERS: Final[Mapping[str, Callable[[SoftwareKey], bytes]]] = MappingProxyType(
    {
        NCRYPT_NAME_PROPERTY: _name,
        NCRYPT_UNIQUE_NAME_PROPERTY: _unique_name,
        NCRYPT_ALGORITHM_PROPERTY: lambda key: utf16(key.algorithm.name),
        NCRYPT_ALGORITHM_GROUP_PROPERTY: lambda key: utf16(key.algorithm.group),
        NCRYPT_LENGTH_PROPERTY: lambda key: dword(key.bits),
        NCRYPT_LENGTHS_PROPERTY: _lengths,
        NCRYPT_PUBLIC_LENGTH_PROPERTY: lambda key: dword(key.bits),
        NCRYPT_BLOCK_LENGTH_PROPERTY: _block_length,
        NCRYPT_CHAINING_MODE_PROPERTY: _chaining_mode,
        NCRYPT_SIGNATURE_LENGTH_PROPERTY: _signature_length,
        NCRYPT_KEY_USAGE_PROPERTY: _usage,
        NCRYPT_EXPORT_POLICY_PROPERTY: _export_policy,
        NCRYPT_KEY_TYPE_PROPERTY: _key_type,
        KEYISO_ORIGIN_PROPERTY: lambda key: utf16(key.ready().header.origin),
    }
)


def _set_length(draft: Draft, bits: int) -> None:
    if draft.algorithm is None:
        raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "an imported key has the length it has")
    check_length(draft.algorithm, bits)
    draft.bits = bits


def _set_usage(draft: Draft, usage: int) -> None:
    if usage > NCRYPT_ALLOW_ALL_USAGES:
        raise _bad_value(NCRYPT_KEY_USAGE_PROPERTY, usage)
    draft.usage = usage


def _set_export_policy(draft: Draft, policy: int) -> None:
    if policy & ~_EXPORT_POLICY_BITS:
        raise _bad_value(NCRYPT_EXPORT_POLICY_PROPERTY, policy)
    draft.export_policy = policy


_SETTERS: Final[Mapping[str, Callable[[Draft, int], None]]] = MappingProxyType(
    {
        NCRYPT_LENGTH_PROPERTY: _set_length,
        NCRYPT_KEY_USAGE_PROPERTY: _set_usage,
        NCRYPT_EXPORT_POLICY_PROPERTY: _set_export_policy,
    }
)


def _dword_of(name: str, value: bytes) -> int:
    if len(value) != 4:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"'{name}' is a DWORD of 4 bytes, not {len(value)}"
        )
    return int(struct.unpack("<I", value)[0])


def _bad_value(name: str, value: int) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, f"{value:#x} has bits that '{name}' does not define"
    )


def _not_finalized() -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_KEY_STATE,
        "the key is not finalized",
        "Call NCryptFinalizeKey first.",
    )
