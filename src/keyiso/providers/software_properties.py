"""Properties of the software provider and of its keys (CNG's "Key Storage Property Identifiers").

Three kinds: what keyiso knows of a key (built in), what belongs to a handle, and what is stored
with a key for its users.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from keyiso import limits
from keyiso.client.binding import Binding
from keyiso.client.reference import KeyLocation
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    DACL_SECURITY_INFORMATION,
    GROUP_SECURITY_INFORMATION,
    LABEL_SECURITY_INFORMATION,
    NCRYPT_IMPL_SOFTWARE_FLAG,
    NCRYPT_PERSIST_FLAG,
    NCRYPT_PERSIST_ONLY_FLAG,
    NCRYPT_SILENT_FLAG,
    OWNER_SECURITY_INFORMATION,
    SACL_SECURITY_INFORMATION,
)
from keyiso.function_table import NCRYPT_UI_POLICY
from keyiso.identifiers import (
    MS_KEY_STORAGE_PROVIDER,
    NCRYPT_CERTIFICATE_PROPERTY,
    NCRYPT_CHAINING_MODE_PROPERTY,
    NCRYPT_IMPL_TYPE_PROPERTY,
    NCRYPT_LAST_MODIFIED_PROPERTY,
    NCRYPT_MAX_NAME_LENGTH_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_SECURITY_DESCR_PROPERTY,
    NCRYPT_SECURITY_DESCR_SUPPORT_PROPERTY,
    NCRYPT_UI_POLICY_PROPERTY,
    NCRYPT_USE_CONTEXT_PROPERTY,
    NCRYPT_VERSION_PROPERTY,
    NCRYPT_WINDOW_HANDLE_PROPERTY,
)
from keyiso.names import encode_property_name
from keyiso.providers.security_descriptor import decode_access, encode_descriptor
from keyiso.providers.software_built_in import (
    BUILT_IN,
    SETTABLE_IN_DRAFT,
    chaining_mode_of,
    dword,
    dword_of,
    not_supported_property,
    utf16,
)
from keyiso.providers.software_key import Draft, SoftwareKey
from keyiso.providers.software_operations import check_flags
from keyiso.status import Status
from keyiso.wire.control import FindKey, Found, GetProperty, SetAccess, SetProperty

VERSION: Final = 0x00010000
"""NCRYPT_VERSION_PROPERTY: high word major, low word minor."""

_PARTS: Final = (
    OWNER_SECURITY_INFORMATION
    | GROUP_SECURITY_INFORMATION
    | DACL_SECURITY_INFORMATION
    | SACL_SECURITY_INFORMATION
    | LABEL_SECURITY_INFORMATION
)
_OFFERED_PARTS: Final = (
    OWNER_SECURITY_INFORMATION | GROUP_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION
)
_PERSIST_FLAGS: Final = NCRYPT_PERSIST_FLAG | NCRYPT_PERSIST_ONLY_FLAG

_OF_A_HANDLE: Final = frozenset({NCRYPT_WINDOW_HANDLE_PROPERTY, NCRYPT_USE_CONTEXT_PROPERTY})
"""Set on a handle, of a key or of the provider, and gone with it."""

_STORED_BY_NAME: Final = frozenset({NCRYPT_UI_POLICY_PROPERTY, NCRYPT_CERTIFICATE_PROPERTY})
"""CNG's properties that are a key's, and that keyiso only keeps."""

_NEED_NOT_BE_THERE: Final = _OF_A_HANDLE | _STORED_BY_NAME | {NCRYPT_LAST_MODIFIED_PROPERTY}
"""``NTE_NOT_FOUND`` for a key without, as on the Microsoft software provider; what no key has
is ``NTE_NOT_SUPPORTED``.
"""

_SECONDS_BEFORE_1970: Final = 11_644_473_600
"""A FILETIME counts from 1601-01-01, in units of 100 ns."""


class ProviderContext:
    """What a provider handle stands for."""

    def __init__(self) -> None:
        self.handle_properties: dict[str, bytes] = {}


def get_provider_property(provider: ProviderContext, name: str, flags: int) -> bytes:
    """A property of the provider. Raises ``NTE_NOT_SUPPORTED`` for one that it has not."""
    check_flags(flags, NCRYPT_PERSIST_ONLY_FLAG | NCRYPT_SILENT_FLAG)
    if name in _OF_A_HANDLE:
        return _of_handle(provider, name)
    if name not in _OF_THE_PROVIDER:
        raise not_supported_property(name)
    return _OF_THE_PROVIDER[name]


def set_provider_property(provider: ProviderContext, name: str, value: bytes, flags: int) -> None:
    """Set what belongs to a handle; there is nothing else to set."""
    check_flags(flags, NCRYPT_SILENT_FLAG)
    if name not in _OF_A_HANDLE:
        raise not_supported_property(name)
    _set_of_handle(provider, name, value)


class KeyProperties:
    """The properties of keys, over one binding of this process."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def get(self, key: SoftwareKey, name: str, flags: int) -> bytes:
        """A property's value. Raises ``NTE_NOT_SUPPORTED`` for one that no key has and
        ``NTE_NOT_FOUND`` for one that this key has not.
        """
        if name == NCRYPT_SECURITY_DESCR_PROPERTY:
            return self._security_descriptor(key, flags)
        check_flags(flags, NCRYPT_PERSIST_ONLY_FLAG | NCRYPT_SILENT_FLAG)
        if flags & NCRYPT_PERSIST_ONLY_FLAG:
            return self._stored(key, name, Status.NTE_NOT_FOUND)
        if name in BUILT_IN:
            return BUILT_IN[name](key)
        if name in _OF_A_HANDLE:
            return _of_handle(key, name)
        if name == NCRYPT_LAST_MODIFIED_PROPERTY:
            return self._modified(key)
        absent = name in _NEED_NOT_BE_THERE
        return self._stored(key, name, Status.NTE_NOT_FOUND if absent else _NOT_SUPPORTED)

    def set(self, key: SoftwareKey, name: str, value: bytes, flags: int) -> None:
        """Set a property, of the draft, of the handle or of the stored key."""
        if name == NCRYPT_SECURITY_DESCR_PROPERTY:
            self._set_security_descriptor(key, value, flags)
            return
        check_flags(flags, _PERSIST_FLAGS | NCRYPT_SILENT_FLAG)
        if flags & NCRYPT_PERSIST_ONLY_FLAG:
            self._store(key, name, value)
        elif name in SETTABLE_IN_DRAFT:
            if key.draft is None:
                raise _too_late(name)
            SETTABLE_IN_DRAFT[name](key.draft, dword_of(name, value))
        elif name == NCRYPT_CHAINING_MODE_PROPERTY:
            if key.algorithm.family != "aes":
                raise not_supported_property(name)
            key.chaining_mode = chaining_mode_of(value)
        elif name in _OF_A_HANDLE:
            _set_of_handle(key, name, value)
        elif name == NCRYPT_UI_POLICY_PROPERTY:
            _check_ui_policy(value)
            if key.draft is None:
                raise _too_late(name)
            self._store(key, name, value)
        elif name == NCRYPT_CERTIFICATE_PROPERTY or (
            flags & NCRYPT_PERSIST_FLAG and name not in _READ_ONLY
        ):
            self._store(key, name, value)
        else:
            raise not_supported_property(name)

    # --- stored properties ---------------------------------------------------------------------

    def _stored(self, key: SoftwareKey, name: str, absent: Status) -> bytes:
        """What is stored under a name. Raises ``absent`` where nothing is."""
        nothing = ncrypt_error(absent, f"the key has no property {name!r:.80}")
        try:
            units = encode_property_name(name)
        except NCryptError:
            raise nothing from None
        if key.draft is not None:
            if name not in key.draft.properties:
                raise nothing
            return key.draft.properties[name]
        where = _place(key)
        if where is None:
            raise nothing
        location, key_id = where
        try:
            return self._binding.control(
                GetProperty(location.provider, location.scope, location.name, key_id, units)
            ).value
        except NCryptError as error:
            if error.status != Status.NTE_NOT_FOUND:
                raise
            raise nothing from None

    def _store(self, key: SoftwareKey, name: str, value: bytes) -> None:
        units = encode_property_name(name)
        if len(value) > limits.PROPERTY_BYTES:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                f"a property has at most PROPERTY_BYTES ({limits.PROPERTY_BYTES}) bytes",
            )
        if key.draft is not None:
            _keep_in_draft(key.draft, name, value)
            return
        location, key_id = self._needed_place(key)
        operation_id = self._binding.operation_id()
        self._binding.control(
            SetProperty(
                operation_id,
                location.provider,
                location.scope,
                location.name,
                key_id,
                units,
                value,
            )
        )

    # --- what the KeyIso service knows ---------------------------------------------------------

    def _modified(self, key: SoftwareKey) -> bytes:
        """FILETIME of the last change."""
        if _place(key) is None:
            raise ncrypt_error(Status.NTE_NOT_FOUND, "only a persisted key has 'Modified'")
        modified = self._found(key).modified
        return struct.pack("<Q", int((modified + _SECONDS_BEFORE_1970) * 10_000_000))

    def _security_descriptor(self, key: SoftwareKey, flags: int) -> bytes:
        parts = _checked_parts(flags)
        header = self._found(key).header
        return encode_descriptor(header.owner, header.access, parts)

    def _set_security_descriptor(self, key: SoftwareKey, value: bytes, flags: int) -> None:
        if _checked_parts(flags) != DACL_SECURITY_INFORMATION:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED, "only the access list (DACL) of a key can be changed"
            )
        access = decode_access(value)
        location, key_id = self._needed_place(key)
        operation_id = self._binding.operation_id()
        self._binding.control(
            SetAccess(
                operation_id, location.provider, location.scope, location.name, key_id, access
            )
        )

    def _found(self, key: SoftwareKey) -> Found:
        """The key as it is stored now, if it is still the same one."""
        location, key_id = self._needed_place(key)
        found = self._binding.control(FindKey(location.provider, location.scope, location.name))
        if found.header.key_id != key_id:
            raise ncrypt_error(
                Status.NTE_BAD_KEYSET,
                "the key was replaced by another one of its name",
                "Open it again to use the new key.",
            )
        return found

    def _needed_place(self, key: SoftwareKey) -> tuple[KeyLocation, bytes]:
        where = _place(key)
        if where is None:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "only a persisted key that is finalized has something stored with it",
            )
        return where


def _place(key: SoftwareKey) -> tuple[KeyLocation, bytes] | None:
    """Where a key is stored, and its id; None for one that is not."""
    reference = key.reference
    if reference is None or reference.location is None:
        return None
    return reference.location, reference.header.key_id


def _keep_in_draft(draft: Draft, name: str, value: bytes) -> None:
    if not draft.name:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, "an ephemeral key is not stored, and no property with it"
        )
    together = {**draft.properties, name: value}
    if (
        len(together) > limits.PROPERTIES_PER_KEY
        or sum(map(len, together.values())) > limits.NEW_KEY_PROPERTY_BYTES
    ):
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            "the properties of a new key are more than PROPERTIES_PER_KEY"
            f" ({limits.PROPERTIES_PER_KEY}) or NEW_KEY_PROPERTY_BYTES"
            f" ({limits.NEW_KEY_PROPERTY_BYTES})",
            "Set large ones after the key is finalized.",
        )
    draft.properties = together


def _of_handle(handle: SoftwareKey | ProviderContext, name: str) -> bytes:
    if name not in handle.handle_properties:
        raise ncrypt_error(Status.NTE_NOT_FOUND, f"'{name}' was not set on this handle")
    return handle.handle_properties[name]


def _set_of_handle(handle: SoftwareKey | ProviderContext, name: str, value: bytes) -> None:
    if len(value) > limits.HANDLE_PROPERTY_BYTES:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            f"'{name}' has at most HANDLE_PROPERTY_BYTES ({limits.HANDLE_PROPERTY_BYTES}) bytes",
        )
    handle.handle_properties[name] = value


def _checked_parts(flags: int) -> int:
    """The parts of a security descriptor that are meant; there must be some."""
    check_flags(flags, _PARTS | NCRYPT_SILENT_FLAG)
    parts = flags & _PARTS
    if not parts:
        raise ncrypt_error(
            Status.NTE_BAD_FLAGS, "the flags must say which parts of the descriptor are meant"
        )
    if parts & ~_OFFERED_PARTS:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, "a key has an owner and an access list, no SACL and no label"
        )
    return parts


def _check_ui_policy(value: bytes) -> None:
    """Never pretend: nothing here can ask a person, so no key says that somebody is asked."""
    if NCRYPT_UI_POLICY.unpack(value).dwFlags:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            "keys of this provider cannot ask for consent or a password",
            "Use a policy without flags.",
        )


def _too_late(name: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_NOT_SUPPORTED, f"'{name}' can only be set before the key is finalized"
    )


_NOT_SUPPORTED: Final = Status.NTE_NOT_SUPPORTED

_OF_THE_PROVIDER: Final[Mapping[str, bytes]] = MappingProxyType(
    {
        NCRYPT_NAME_PROPERTY: utf16(MS_KEY_STORAGE_PROVIDER),
        NCRYPT_IMPL_TYPE_PROPERTY: dword(NCRYPT_IMPL_SOFTWARE_FLAG),
        NCRYPT_VERSION_PROPERTY: dword(VERSION),
        NCRYPT_MAX_NAME_LENGTH_PROPERTY: dword(limits.NAME_UNITS),
        NCRYPT_SECURITY_DESCR_SUPPORT_PROPERTY: dword(1),
    }
)

_READ_ONLY: Final = BUILT_IN.keys() | _OF_THE_PROVIDER.keys() | {NCRYPT_LAST_MODIFIED_PROPERTY}
"""Names that mean something of keyiso's own; users' values need NCRYPT_PERSIST_ONLY_FLAG there."""
