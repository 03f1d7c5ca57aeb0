"""``Microsoft Passport Key Storage Provider``: keys in the caller's container, each for a PIN.

A key is made, and signs, for a PIN that was set before on its handle or on the provider's
(``SmartCardPin``). Everything else needs none.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from keyiso.client.binding import Binding, bind_process
from keyiso.client.passport import create_passport_key, find_passport_key, sign_with_pin
from keyiso.client.reference import KeyReference
from keyiso.crypto.algorithms import ALGORITHMS, Algorithm, algorithm_named
from keyiso.crypto.pin import Pin
from keyiso.crypto.public_keys import PUBLIC_BLOBS, export_public_blob
from keyiso.crypto.signatures import signature_bytes
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_ALLOW_SIGNING_FLAG,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_NO_KEY_VALIDATION,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_PERSIST_ONLY_FLAG,
    NCRYPT_PREFER_VBS_FLAG,
    NCRYPT_REQUIRE_VBS_FLAG,
    NCRYPT_SIGNATURE_OPERATION,
    NCRYPT_SILENT_FLAG,
    NCRYPT_USE_PER_BOOT_KEY_FLAG,
)
from keyiso.function_table import (
    KeyStorageFunctionTable,
    NCryptAlgorithmName,
    NCryptBuffer,
    NCryptKeyName,
    PaddingInfo,
)
from keyiso.identifiers import (
    MS_NGC_KEY_STORAGE_PROVIDER,
    NCRYPT_EXPORT_POLICY_PROPERTY,
    NCRYPT_KEY_USAGE_PROPERTY,
    NCRYPT_NAME_PROPERTY,
    NCRYPT_PIN_PROPERTY,
)
from keyiso.names import decode_name, encode_name, encode_property_name
from keyiso.providers.passport_pin import HeldPin, pin_of
from keyiso.providers.software_built_in import dword_of, not_supported_property, utf16
from keyiso.providers.software_key import Draft, SoftwareKey
from keyiso.providers.software_operations import (
    KeyOperations,
    check_flags,
    check_message,
    signature_padding,
)
from keyiso.providers.software_properties import (
    KeyProperties,
    ProviderContext,
    get_provider_property,
    set_provider_property,
)
from keyiso.providers.stored_keys import StoredKeys, check_key_spec
from keyiso.status import Status
from keyiso.wire.key_terms import KeyProperty

T = TypeVar("T")

_VBS_FLAGS: Final = NCRYPT_REQUIRE_VBS_FLAG | NCRYPT_PREFER_VBS_FLAG | NCRYPT_USE_PER_BOOT_KEY_FLAG
_OPEN_FLAGS: Final = NCRYPT_MACHINE_KEY_FLAG | NCRYPT_SILENT_FLAG
_CREATE_FLAGS: Final = _OPEN_FLAGS | NCRYPT_OVERWRITE_KEY_FLAG | _VBS_FLAGS
_NO_KEY_HERE: Final = NCRYPT_MACHINE_KEY_FLAG | _VBS_FLAGS
"""Flags that are CNG's, and ask for what no container has."""

_FIXED: Final = {
    NCRYPT_KEY_USAGE_PROPERTY: NCRYPT_ALLOW_SIGNING_FLAG,
    NCRYPT_EXPORT_POLICY_PROPERTY: 0,
}
"""What every key in a container has; nothing else can be set."""


def get_key_storage_interface(provider_name: str, flags: int) -> KeyStorageFunctionTable:
    """The provider's entry function."""
    return PassportProvider(bind_process(os.environ, service="passport")).function_table()


class PassportContext(ProviderContext):
    """What a provider handle stands for. Its PIN is for the keys that have none of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.pin = HeldPin()


class PassportKey(SoftwareKey):
    """What a key handle stands for: a draft, or a reference to a key in the caller's container."""

    def __init__(
        self, *, draft: Draft | None = None, reference: KeyReference | None = None
    ) -> None:
        super().__init__(draft=draft, reference=reference)
        self.pin = HeldPin()


class PassportProvider:
    """The functions of the provider, over one binding of this process."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._keys = StoredKeys(binding, MS_NGC_KEY_STORAGE_PROVIDER)
        self._properties = KeyProperties(binding)

    def function_table(self) -> KeyStorageFunctionTable:
        return KeyStorageFunctionTable(
            open_provider=self._open_provider,
            open_key=self._open_key,
            create_persisted_key=self._create_persisted_key,
            get_provider_property=self._get_provider_property,
            set_provider_property=self._set_provider_property,
            get_key_property=self._get_key_property,
            set_key_property=self._set_key_property,
            finalize_key=self._finalize_key,
            delete_key=self._delete_key,
            free_provider=lambda provider: provider.pin.wipe(),
            free_key=lambda provider, key: key.pin.wipe(),
            is_alg_supported=self._is_alg_supported,
            enum_algorithms=self._enum_algorithms,
            enum_keys=self._enum_keys,
            export_key=self._export_key,
            sign_hash=self._sign_hash,
            verify_signature=KeyOperations(self._binding).verify_signature,
        )

    # --- provider ------------------------------------------------------------------------------

    def _open_provider(self, name: str, flags: int) -> PassportContext:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        return PassportContext()

    def _is_alg_supported(self, provider: Any, algorithm: str, flags: int) -> None:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        _signing_algorithm(algorithm)

    def _enum_algorithms(
        self, provider: Any, operations: int, flags: int
    ) -> Sequence[NCryptAlgorithmName]:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        if operations and not operations & NCRYPT_SIGNATURE_OPERATION:
            return ()
        return tuple(
            NCryptAlgorithmName(known.name, known.interface, NCRYPT_SIGNATURE_OPERATION)
            for known in ALGORITHMS.values()
            if known.operations & NCRYPT_SIGNATURE_OPERATION
        )

    def _enum_keys(
        self, provider: Any, scope: None, state: Any, flags: int
    ) -> tuple[NCryptKeyName, Any]:
        check_flags(flags, _OPEN_FLAGS)
        _refuse_other_kinds(flags)
        return self._keys.enumerate(scope, state, flags)

    def _get_provider_property(self, provider: PassportContext, name: str, flags: int) -> bytes:
        value = get_provider_property(provider, name, flags)
        return utf16(MS_NGC_KEY_STORAGE_PROVIDER) if name == NCRYPT_NAME_PROPERTY else value

    def _set_provider_property(
        self, provider: PassportContext, name: str, value: bytes, flags: int
    ) -> None:
        if name == NCRYPT_PIN_PROPERTY:
            self._hold(provider.pin, value, flags)
        else:
            set_provider_property(provider, name, value, flags)

    # --- a key's life --------------------------------------------------------------------------

    def _open_key(
        self, provider: PassportContext, name: str, key_spec: int, flags: int
    ) -> PassportKey:
        check_flags(flags, _OPEN_FLAGS)
        check_key_spec(key_spec)
        _refuse_other_kinds(flags)
        return PassportKey(reference=find_passport_key(self._binding, name))

    def _create_persisted_key(
        self,
        provider: PassportContext,
        algorithm: str,
        name: str | None,
        key_spec: int,
        flags: int,
    ) -> PassportKey:
        check_flags(flags, _CREATE_FLAGS)
        check_key_spec(key_spec)
        _refuse_other_kinds(flags)
        known = _signing_algorithm(algorithm)
        if name is None:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "a key in a Passport container is stored, and has a name",
                "Give the key a name.",
            )
        draft = Draft(
            "user",
            encode_name(name),
            bool(flags & NCRYPT_OVERWRITE_KEY_FLAG),
            known,
            known.lengths.default,
            usage=NCRYPT_ALLOW_SIGNING_FLAG,
        )
        if not draft.overwrite:
            self._keys.refuse_existing(self._keys.location(draft.name, 0))
        return PassportKey(draft=draft)

    def _finalize_key(self, provider: PassportContext, key: PassportKey, flags: int) -> None:
        check_flags(flags, NCRYPT_NO_KEY_VALIDATION | NCRYPT_SILENT_FLAG)
        draft = key.draft
        if draft is None:
            raise ncrypt_error(Status.NTE_INVALID_HANDLE, "the key was finalized already")
        algorithm = key.algorithm.name
        properties = tuple(
            KeyProperty(encode_property_name(name), value)
            for name, value in draft.properties.items()
        )

        def make(pin: Pin, attempt_id: bytes) -> KeyReference:
            return create_passport_key(
                self._binding,
                pin,
                decode_name(draft.name),
                algorithm,
                bits=draft.bits,
                overwrite=draft.overwrite,
                properties=properties,
                attempt_id=attempt_id,
            )

        key.become(_with_pin(provider, key, flags, make))

    def _delete_key(self, provider: PassportContext, key: PassportKey, flags: int) -> None:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        if key.reference is not None and key.reference.location is not None:
            self._keys.delete(key.reference.location, key.reference.header.key_id)
        key.pin.wipe()

    # --- a key's properties --------------------------------------------------------------------

    def _get_key_property(
        self, provider: PassportContext, key: PassportKey, name: str, flags: int
    ) -> bytes:
        if name == NCRYPT_PIN_PROPERTY:
            raise not_supported_property(name)
        return self._properties.get(key, name, flags)

    def _set_key_property(
        self, provider: PassportContext, key: PassportKey, name: str, value: bytes, flags: int
    ) -> None:
        if name == NCRYPT_PIN_PROPERTY:
            self._hold(key.pin, value, flags)
            return
        if name in _FIXED and not flags & NCRYPT_PERSIST_ONLY_FLAG:
            _check_fixed(name, dword_of(name, value))
        self._properties.set(key, name, value, flags)

    def _hold(self, place: HeldPin, value: bytes, flags: int) -> None:
        """Nothing stores a PIN: there are no flags for that here."""
        check_flags(flags, NCRYPT_SILENT_FLAG)
        place.hold(pin_of(value), self._binding.operation_id())

    # --- what is done with a key ---------------------------------------------------------------

    def _sign_hash(
        self,
        provider: PassportContext,
        key: PassportKey,
        padding_info: PaddingInfo,
        digest: bytes,
        flags: int,
        *,
        probe: bool = False,
    ) -> bytes | int:
        padding = signature_padding(padding_info, flags)
        reference = key.ready()
        check_message(digest)
        if probe:
            return signature_bytes(key.public())

        def sign(pin: Pin, attempt_id: bytes) -> bytes:
            return sign_with_pin(
                self._binding, pin, reference, digest, padding, attempt_id=attempt_id
            )

        return _with_pin(provider, key, flags, sign)

    def _export_key(
        self,
        provider: PassportContext,
        key: PassportKey,
        export_key: Any,
        blob_type: str,
        parameters: Sequence[NCryptBuffer],
        flags: int,
        *,
        probe: bool = False,
    ) -> bytes | int:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        if export_key is not None or blob_type not in PUBLIC_BLOBS:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED, "only the public half of a Passport key can be exported"
            )
        blob = export_public_blob(key.public(), key.algorithm.group, blob_type)
        return len(blob) if probe else blob


def _with_pin(
    provider: PassportContext, key: PassportKey, flags: int, work: Callable[[Pin, bytes], T]
) -> T:
    """Do something for the PIN of a key's handle, or for the one of the provider's.

    Raises ``NTE_UI_REQUIRED`` where neither has one, in a silent context ``NTE_SILENT_CONTEXT``.
    """
    for place in (key.pin, provider.pin):
        with place.use() as attempt:
            if attempt is not None:
                return work(*attempt)
    raise _no_pin(flags)


def _no_pin(flags: int) -> NCryptError:
    status = Status.NTE_SILENT_CONTEXT if flags & NCRYPT_SILENT_FLAG else Status.NTE_UI_REQUIRED
    return ncrypt_error(
        status,
        "a Passport key needs a PIN for this, and its provider asks nobody",
        f"Set the PIN on the handle before, with '{NCRYPT_PIN_PROPERTY}'; it is good for one use.",
    )


def _signing_algorithm(name: str) -> Algorithm:
    """Raises ``NTE_NOT_SUPPORTED`` for what does not sign."""
    known = algorithm_named(name)
    if not known.operations & NCRYPT_SIGNATURE_OPERATION:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, f"a Passport key signs, and one of {known.name} does not"
        )
    return known


def _refuse_other_kinds(flags: int) -> None:
    if flags & _NO_KEY_HERE:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED,
            "a key in a Passport container is one of a user, is stored, and has level software",
        )


def _check_fixed(name: str, value: int) -> None:
    if value != _FIXED[name]:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, f"'{name}' of a Passport key is {_FIXED[name]:#x}"
        )
