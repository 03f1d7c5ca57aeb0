"""What keyiso knows of a key by itself: the built-in properties of the software provider."""

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, get_args

from keyiso.crypto.algorithms import check_length
from keyiso.crypto.ciphers import BLOCK_BYTES, TAG_BYTES, Mode
from keyiso.crypto.levels import check_export_policy
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_ALLOW_ALL_USAGES,
    NCRYPT_IMPL_SOFTWARE_FLAG,
    NCRYPT_IMPL_VIRTUAL_ISOLATION_FLAG,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_SIGNATURE_OPERATION,
)
from keyiso.identifiers import (
    KEYISO_ORIGIN_PROPERTY,
    NCRYPT_ALGORITHM_GROUP_PROPERTY,
    NCRYPT_ALGORITHM_PROPERTY,
    NCRYPT_AUTH_TAG_LENGTH,
    NCRYPT_BLOCK_LENGTH_PROPERTY,
    NCRYPT_CHAINING_MODE_PROPERTY,
    NCRYPT_ECC_CURVE_NAME_PROPERTY,
    NCRYPT_EXPORT_POLICY_PROPERTY,
    NCRYPT_IMPL_TYPE_PROPERTY,
    NCRYPT_KEY_TYPE_PROPERTY,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_LENGTH_PROPERTY,
    NCRYPT_LENGTHS_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_PUBLIC_LENGTH_PROPERTY,
    NCRYPT_SIGNATURE_LENGTH_PROPERTY,
    NCRYPT_UNIQUE_NAME_PROPERTY,
    NCRYPT_USE_PER_BOOT_KEY_PROPERTY,
    NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY,
)
from keyiso.names import decode_name
from keyiso.providers.software_key import Draft, SoftwareKey
from keyiso.status import Status

_EXPORT_POLICY_BITS: Final = 0x1F


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


def _auth_tag_length(key: SoftwareKey) -> bytes:
    """AES-GCM: minimum, maximum and increment of the tag's length in bytes."""
    if key.algorithm.family != "aes":
        raise not_supported_property(NCRYPT_AUTH_TAG_LENGTH)
    return struct.pack("<3I", TAG_BYTES, TAG_BYTES, 0)


def _curve_name(key: SoftwareKey) -> bytes:
    if key.algorithm.curve is None:
        raise not_supported_property(NCRYPT_ECC_CURVE_NAME_PROPERTY)
    return utf16(f"nistP{key.algorithm.lengths.default}")


def _impl_type(key: SoftwareKey) -> bytes:
    if key.level != "vbs":
        raise not_supported_property(NCRYPT_IMPL_TYPE_PROPERTY)
    return dword(NCRYPT_IMPL_SOFTWARE_FLAG | NCRYPT_IMPL_VIRTUAL_ISOLATION_FLAG)


def _virtual_isolation(key: SoftwareKey) -> bytes:
    """A software key has no such property: nothing claims that it is isolated."""
    if key.level != "vbs":
        raise not_supported_property(NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY)
    return dword(1)


def _per_boot_key(key: SoftwareKey) -> bytes:
    ends_with_boot = key.lifetime == "per-boot"
    if key.level != "vbs" and not ends_with_boot:
        raise not_supported_property(NCRYPT_USE_PER_BOOT_KEY_PROPERTY)
    return dword(ends_with_boot)


def _lengths(key: SoftwareKey) -> bytes:
    known = key.algorithm.lengths
    return struct.pack("<4I", known.minimum, known.maximum, known.increment, known.default)


BUILT_IN: Final[Mapping[str, Callable[[SoftwareKey], bytes]]] = MappingProxyType(
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
        NCRYPT_AUTH_TAG_LENGTH: _auth_tag_length,
        NCRYPT_SIGNATURE_LENGTH_PROPERTY: _signature_length,
        NCRYPT_ECC_CURVE_NAME_PROPERTY: _curve_name,
        NCRYPT_KEY_USAGE_PROPERTY: _usage,
        NCRYPT_EXPORT_POLICY_PROPERTY: _export_policy,
        NCRYPT_KEY_TYPE_PROPERTY: _key_type,
        NCRYPT_IMPL_TYPE_PROPERTY: _impl_type,
        NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY: _virtual_isolation,
        NCRYPT_USE_PER_BOOT_KEY_PROPERTY: _per_boot_key,
        KEYISO_ORIGIN_PROPERTY: lambda key: utf16(key.ready().header.origin),
    }
)
"""What keyiso knows of every key, without asking anybody."""


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
    check_export_policy(draft.level, policy)
    draft.export_policy = policy


SETTABLE_IN_DRAFT: Final[Mapping[str, Callable[[Draft, int], None]]] = MappingProxyType(
    {
        NCRYPT_LENGTH_PROPERTY: _set_length,
        NCRYPT_KEY_USAGE_PROPERTY: _set_usage,
        NCRYPT_EXPORT_POLICY_PROPERTY: _set_export_policy,
    }
)
"""DWORDs that can be set until the key is finalized."""


def dword_of(name: str, value: bytes) -> int:
    if len(value) != 4:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"'{name}' is a DWORD of 4 bytes, not {len(value)}"
        )
    return int(struct.unpack("<I", value)[0])


def _bad_value(name: str, value: int) -> NCryptError:
    return ncrypt_error(
        Status.NTE_INVALID_PARAMETER, f"{value:#x} has bits that '{name}' does not define"
    )


def chaining_mode_of(value: bytes) -> Mode:
    """A mode that AES has. Raises ``NTE_NOT_SUPPORTED`` for another one."""
    modes: dict[bytes, Mode] = {utf16(mode): mode for mode in get_args(Mode)}
    mode = modes.get(value) or modes.get(value + b"\0\0")
    if mode is None:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            "this is not a chaining mode of AES",
            f"It has {', '.join(get_args(Mode))}.",
        )
    return mode
