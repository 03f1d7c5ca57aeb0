"""``Microsoft Software Key Storage Provider``: the client half of the KeyIso service."""

import os
from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from keyiso.client.binding import Binding, bind_process
from keyiso.client.change_event import KeyChangeEvent
from keyiso.client.reference import KeyLocation, KeyReference
from keyiso.client.request import Request
from keyiso.crypto.algorithms import ALGORITHMS, algorithm_named
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.password_cost import check_password_cost
from keyiso.crypto.public_keys import (
    PUBLIC_BLOBS,
    export_public_blob,
    import_public_blob,
)
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_DO_NOT_FINALIZE_FLAG,
    NCRYPT_MACHINE_KEY_FLAG,
    NCRYPT_NO_KEY_VALIDATION,
    NCRYPT_OVERWRITE_KEY_FLAG,
    NCRYPT_PREFER_VBS_FLAG,
    NCRYPT_REGISTER_NOTIFY_FLAG,
    NCRYPT_REQUIRE_VBS_FLAG,
    NCRYPT_SILENT_FLAG,
    NCRYPT_UNREGISTER_NOTIFY_FLAG,
    NCRYPT_USE_PER_BOOT_KEY_FLAG,
    NCRYPTBUFFER_PKCS_KEY_NAME,
    NCRYPTBUFFER_PKCS_SECRET,
)
from keyiso.function_table import (
    KeyStorageFunctionTable,
    NCryptAlgorithmName,
    NCryptBuffer,
    NCryptKeyName,
)
from keyiso.identifiers import (
    BCRYPT_KEY_DATA_BLOB,
    MS_KEY_STORAGE_PROVIDER,
    NCRYPT_AES_ALGORITHM,
    NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
)
from keyiso.limits import GENERATION_SECONDS
from keyiso.names import encode_name, encode_property_name
from keyiso.providers.software_encryption import (
    key_data,
)
from keyiso.providers.software_key import Draft, SoftwareKey
from keyiso.providers.software_operations import KeyOperations, check_flags
from keyiso.providers.software_properties import (
    KeyProperties,
    ProviderContext,
    get_provider_property,
    set_provider_property,
)
from keyiso.providers.software_protection import protection_for
from keyiso.providers.stored_keys import StoredKeys, check_key_spec, scope_of
from keyiso.status import Status
from keyiso.wire.channel import ExportPrivate
from keyiso.wire.control import (
    Created,
    CreateKey,
    GetImportKey,
    ImportKey,
    ReleaseEphemeral,
)
from keyiso.wire.key_terms import KeyProperty, KeyTerms

_SHORT_RSA_BITS: Final = 4096
_SHORT_PKCS8_BYTES: Final = 4096
"""An RSA-4096 key takes 2.4 KiB."""

_VBS_FLAGS: Final = NCRYPT_REQUIRE_VBS_FLAG | NCRYPT_PREFER_VBS_FLAG | NCRYPT_USE_PER_BOOT_KEY_FLAG
_CREATE_FLAGS: Final = (
    NCRYPT_MACHINE_KEY_FLAG | NCRYPT_OVERWRITE_KEY_FLAG | NCRYPT_SILENT_FLAG | _VBS_FLAGS
)
_OPEN_FLAGS: Final = NCRYPT_MACHINE_KEY_FLAG | NCRYPT_SILENT_FLAG
_IMPORT_FLAGS: Final = _CREATE_FLAGS | NCRYPT_NO_KEY_VALIDATION | NCRYPT_DO_NOT_FINALIZE_FLAG
_FINALIZE_FLAGS: Final = NCRYPT_NO_KEY_VALIDATION | NCRYPT_SILENT_FLAG


def get_key_storage_interface(provider_name: str, flags: int) -> KeyStorageFunctionTable:
    """The provider's entry function."""
    return SoftwareProvider(bind_process(os.environ)).function_table()


class SoftwareProvider:
    """The functions of the provider, over one binding of this process."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self._keys = StoredKeys(binding, MS_KEY_STORAGE_PROVIDER)
        self._operations = KeyOperations(binding)
        self._properties = KeyProperties(binding)

    def function_table(self) -> KeyStorageFunctionTable:
        return KeyStorageFunctionTable(
            open_provider=self._open_provider,
            open_key=self._open_key,
            create_persisted_key=self._create_persisted_key,
            get_provider_property=get_provider_property,
            set_provider_property=set_provider_property,
            get_key_property=self._get_key_property,
            set_key_property=self._set_key_property,
            finalize_key=self._finalize_key,
            delete_key=self._delete_key,
            free_provider=lambda provider: None,
            free_key=self._free_key,
            is_alg_supported=self._is_alg_supported,
            enum_algorithms=self._enum_algorithms,
            enum_keys=self._enum_keys,
            notify_change_key=self._notify_change_key,
            import_key=self._import_key,
            export_key=self._export_key,
            encrypt=self._operations.encrypt,
            decrypt=self._operations.decrypt,
            secret_agreement=self._operations.secret_agreement,
            derive_key=self._operations.derive_key,
            free_secret=lambda provider, secret: None,
            sign_hash=self._operations.sign_hash,
            sign_hashes=self._operations.sign_hashes,
            verify_signature=self._operations.verify_signature,
        )

    # --- provider ------------------------------------------------------------------------------

    def _open_provider(self, name: str, flags: int) -> ProviderContext:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        return ProviderContext()

    def _is_alg_supported(self, provider: Any, algorithm: str, flags: int) -> None:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        algorithm_named(algorithm)

    def _enum_algorithms(
        self, provider: Any, operations: int, flags: int
    ) -> Sequence[NCryptAlgorithmName]:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        return tuple(
            NCryptAlgorithmName(known.name, known.interface, known.operations)
            for known in ALGORITHMS.values()
            if not operations or known.operations & operations
        )

    def _enum_keys(
        self, provider: Any, scope: None, state: Any, flags: int
    ) -> tuple[NCryptKeyName, Any]:
        check_flags(flags, _OPEN_FLAGS)
        return self._keys.enumerate(scope, state, flags)

    def _notify_change_key(
        self, provider: Any, event: KeyChangeEvent | None, flags: int
    ) -> KeyChangeEvent | None:
        check_flags(
            flags,
            NCRYPT_REGISTER_NOTIFY_FLAG | NCRYPT_UNREGISTER_NOTIFY_FLAG | NCRYPT_MACHINE_KEY_FLAG,
        )
        if event is not None and not isinstance(event, KeyChangeEvent):
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "this is no event of NCrypt's")
        if flags == NCRYPT_UNREGISTER_NOTIFY_FLAG:
            if event is None:
                raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "there is no event to unregister")
            event.close()
            return None
        if flags & ~NCRYPT_MACHINE_KEY_FLAG != NCRYPT_REGISTER_NOTIFY_FLAG:
            raise ncrypt_error(
                Status.NTE_BAD_FLAGS, "an event is registered, in a scope, or unregistered"
            )
        if event is None:
            return self._binding.watch(scope_of(flags))
        event.reset()
        return event

    # --- a key's life --------------------------------------------------------------------------

    def _open_key(self, provider: Any, name: str, key_spec: int, flags: int) -> SoftwareKey:
        check_flags(flags, _OPEN_FLAGS)
        check_key_spec(key_spec)
        return SoftwareKey(
            reference=self._binding.open(self._keys.location(encode_name(name), flags))
        )

    def _create_persisted_key(
        self, provider: Any, algorithm: str, name: str | None, key_spec: int, flags: int
    ) -> SoftwareKey:
        check_flags(flags, _CREATE_FLAGS)
        check_key_spec(key_spec)
        known = algorithm_named(algorithm)
        draft = self._draft(name, flags)
        draft.algorithm, draft.bits = known, known.lengths.default
        self._refuse_existing(draft)
        return SoftwareKey(draft=draft)

    def _finalize_key(self, provider: Any, key: SoftwareKey, flags: int) -> None:
        check_flags(flags, _FINALIZE_FLAGS)
        draft = key.draft
        if draft is None:
            raise ncrypt_error(Status.NTE_INVALID_HANDLE, "the key was finalized already")
        operation_id = self._binding.operation_id()

        def make(request: Request) -> Created:
            return _make(request, draft, operation_id)

        if _takes_long(draft):
            made = self._binding.try_patiently("FinalizeKey", GENERATION_SECONDS, make)
        else:
            made = self._binding.try_until_done("FinalizeKey", make)
        location = KeyLocation(MS_KEY_STORAGE_PROVIDER, draft.scope, draft.name)
        key.become(KeyReference(made.header, location if draft.name else None, made.blob))

    def _delete_key(self, provider: Any, key: SoftwareKey, flags: int) -> None:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        reference = key.reference
        if reference is None:
            return  # a draft, or a public key: nothing exists outside this process
        if reference.location is None:
            self._release_ephemeral(reference)
            return
        self._keys.delete(reference.location, reference.header.key_id)

    def _free_key(self, provider: Any, key: SoftwareKey) -> None:
        """A persisted key's slot is released when its reference goes; an ephemeral key ends."""
        if key.reference is not None and key.reference.location is None:
            self._release_ephemeral(key.reference)

    def _release_ephemeral(self, reference: KeyReference) -> None:
        try:
            self._binding.control(ReleaseEphemeral(reference.blob))
        except NCryptError as error:
            if error.status != Status.KEYISO_E_EPHEMERAL_GONE:
                raise  # one that is gone is what was wanted

    def _get_key_property(self, provider: Any, key: SoftwareKey, name: str, flags: int) -> bytes:
        return self._properties.get(key, name, flags)

    def _set_key_property(
        self, provider: Any, key: SoftwareKey, name: str, value: bytes, flags: int
    ) -> None:
        self._properties.set(key, name, value, flags)

    # --- import and export ---------------------------------------------------------------------

    def _import_key(
        self,
        provider: Any,
        import_key: Any,
        blob_type: str,
        parameters: Sequence[NCryptBuffer],
        data: bytes,
        flags: int,
    ) -> SoftwareKey:
        check_flags(flags, _IMPORT_FLAGS)
        if import_key is not None:
            raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "importing under a key is not supported")
        if blob_type in PUBLIC_BLOBS:
            return SoftwareKey(public_key=import_public_blob(data, blob_type))
        draft = self._draft(_text(parameters, NCRYPTBUFFER_PKCS_KEY_NAME), flags)
        if blob_type == NCRYPT_PKCS8_PRIVATE_KEY_BLOB:
            draft.imported = _clear_pkcs8(data, _text(parameters, NCRYPTBUFFER_PKCS_SECRET))
        elif blob_type == BCRYPT_KEY_DATA_BLOB:
            draft.imported = key_data(data)
            draft.algorithm = ALGORITHMS[NCRYPT_AES_ALGORITHM]
        else:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED, f"the blob type {blob_type!r:.80} cannot be imported"
            )
        self._refuse_existing(draft)
        key = SoftwareKey(draft=draft)
        if not flags & NCRYPT_DO_NOT_FINALIZE_FLAG:
            self._finalize_key(provider, key, 0)
        return key

    def _export_key(
        self,
        provider: Any,
        key: SoftwareKey,
        export_key: Any,
        blob_type: str,
        parameters: Sequence[NCryptBuffer],
        flags: int,
        *,
        probe: bool = False,
    ) -> bytes | int:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        if export_key is not None:
            raise ncrypt_error(Status.NTE_NOT_SUPPORTED, "exporting under a key is not supported")
        if blob_type in PUBLIC_BLOBS:
            blob = export_public_blob(key.public(), key.algorithm.group, blob_type)
        else:
            password = _utf8(_text(parameters, NCRYPTBUFFER_PKCS_SECRET) or "")
            blob = self._binding.perform(
                "ExportKey", key.ready(), lambda slot: ExportPrivate(slot, blob_type, password)
            ).value
        return len(blob) if probe else blob

    def _draft(self, name: str | None, flags: int) -> Draft:
        """What a key with these flags is to become, as far as they say it.

        Raises ``NTE_VBS_UNAVAILABLE`` where they require what the machine does not give.
        """
        given = protection_for(self._binding, flags, named=name is not None)
        overwrite = bool(flags & NCRYPT_OVERWRITE_KEY_FLAG) and name is not None
        return Draft(
            "user" if name is None else scope_of(flags),
            b"" if name is None else encode_name(name),
            overwrite,
            None,
            0,
            level=given.level,
            lifetime=given.lifetime,
        )

    def _refuse_existing(self, draft: Draft) -> None:
        """Tell early that a name is taken. What counts is decided when the key is finalized."""
        if not draft.name or draft.overwrite:
            return
        self._keys.refuse_existing(KeyLocation(MS_KEY_STORAGE_PROVIDER, draft.scope, draft.name))


def _takes_long(draft: Draft) -> bool:
    """Generating a long RSA key takes minutes, validating one seconds."""
    if draft.imported is not None:
        return len(draft.imported) > _SHORT_PKCS8_BYTES
    return draft.bits > _SHORT_RSA_BITS


def _make(request: Request, draft: Draft, operation_id: bytes) -> Created:
    """One try to make the key of a draft."""
    terms = KeyTerms(
        operation_id=operation_id,
        provider=MS_KEY_STORAGE_PROVIDER,
        scope=draft.scope,
        owner=request.bound().uid,
        name=draft.name,
        lifetime=draft.lifetime,
        algorithm=draft.algorithm.name if draft.algorithm else "",
        bits=draft.bits,
        usage=draft.usage,
        export_policy=draft.export_policy,
        overwrite=draft.overwrite,
        level=draft.level,
    )
    properties = tuple(
        KeyProperty(encode_property_name(name), value) for name, value in draft.properties.items()
    )
    if draft.imported is None:
        return request.control(CreateKey(terms, properties))
    worker = request.control(GetImportKey(draft.level))
    sealed = seal_import(draft.imported, worker.public_key, terms)
    return request.control(ImportKey(terms, worker.worker_instance, sealed, properties))


def _text(parameters: Sequence[NCryptBuffer], kind: int) -> str | None:
    """A string from a parameter list: a str, or UTF-16 bytes with or without the final NUL."""
    for parameter in parameters:
        if parameter.BufferType == kind:
            value = parameter.pvBuffer
            if isinstance(value, str):
                return value
            try:
                return value.decode("utf-16-le", "surrogatepass").removesuffix("\0")
            except UnicodeDecodeError:
                raise ncrypt_error(
                    Status.NTE_INVALID_PARAMETER, f"the buffer of type {kind} is not UTF-16"
                ) from None
    return None


def _utf8(password: str) -> bytes:
    try:
        return password.encode("utf-8")
    except UnicodeEncodeError:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, "the password has half of a surrogate pair"
        ) from None


def _clear_pkcs8(data: bytes, password: str | None) -> bytes:
    """The key without its password, which is taken off here, in the application's process."""
    if password is None:
        return data
    check_password_cost(data)
    try:
        key = serialization.load_der_private_key(data, password.encode("utf-8"))
    except UnsupportedAlgorithm:
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, "the key's algorithm or encryption is not supported"
        ) from None
    except (ValueError, TypeError, InternalError):
        raise ncrypt_error(
            Status.NTE_BAD_DATA, "the data is not a PKCS #8 key under this password"
        ) from None
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
