"""Keys in Python's manner: context managers, enums, no flag words, no sizes.

from keyiso import Key

with Key.create("web", "ECDSA_P256") as key:
    signature = key.sign(data, hash="SHA256")
    key.verify(signature, data, hash="SHA256")
"""

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self, cast

from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import flags as f
from keyiso import identifiers as names
from keyiso import ncrypt
from keyiso.access_rules import AccessRule, rules_of_descriptor, rules_to_descriptor
from keyiso.closeable import Closeable
from keyiso.crypto.ciphers import NONCE_BYTES, TAG_BYTES
from keyiso.crypto.digests import digest as hash_of
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.public_keys import export_public_blob, import_public_blob
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.paddings import encryption_padding, signature_padding
from keyiso.private_keys import HeldPrivateKey, held_private_key
from keyiso.protection import (
    ExportPolicy,
    KeyUsage,
    Protection,
    ProtectionReport,
    protection_report,
)
from keyiso.provider import DEFAULT_PROVIDER, Provider, scope_flag
from keyiso.status import Status

__all__ = [
    "AccessRule",
    "ExportPolicy",
    "Key",
    "KeyUsage",
    "Protection",
    "ProtectionReport",
    "Provider",
]

ENCRYPTED_VERSION: Final = 1
"""The first byte of what `Key.encrypt` makes with AES: version, nonce, tag, ciphertext."""

ED25519: Final = "ED25519"
"""keyiso's own algorithm identifier; CNG has none."""

_PAD_CIPHER: Final = f.NCRYPT_PAD_CIPHER_FLAG


class Key(Closeable):
    """A key that is open. Make one with `create`, `open` or `import_key`.

    The object goes on working when any service restarts. An ephemeral key ends when it is closed.
    """

    def __init__(self) -> None:
        raise TypeError("use Key.create, Key.open or Key.import_key")

    # --- making one ----------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        name: str | None,
        algorithm: str,
        *,
        length: int | None = None,
        machine: bool = False,
        overwrite: bool = False,
        usage: KeyUsage = KeyUsage.ALL,
        export_policy: ExportPolicy = ExportPolicy.NONE,
        protection: Protection = Protection.SOFTWARE,
        per_boot: bool = False,
        provider: str = DEFAULT_PROVIDER,
    ) -> Self:
        """Generate a key. ``name`` None makes an ephemeral one; ``length`` is in bits. A key that
        is ``per_boot`` is stored and ends with this boot of the machine; without PREFER_VBS that
        requires ``vbs``.

        Raises `KeyExistsError` where the name is taken and ``overwrite`` was not asked for, and
        `VbsUnavailableError` where ``vbs`` is required and cannot be had.
        """
        opened = ncrypt.NCryptOpenStorageProvider(provider)
        handle = ncrypt.NCryptCreatePersistedKey(
            opened, algorithm, name, 0, _flags(machine, overwrite, protection, per_boot)
        )
        if length is not None:
            _set_dword(handle, names.NCRYPT_LENGTH_PROPERTY, length)
        return cls._finalized(handle, usage, export_policy)

    @classmethod
    def open(cls, name: str, *, machine: bool = False, provider: str = DEFAULT_PROVIDER) -> Self:
        """Open a key by name. Raises `KeyNotFoundError` when there is none for this user."""
        opened = ncrypt.NCryptOpenStorageProvider(provider)
        return cls._of(ncrypt.NCryptOpenKey(opened, name, 0, scope_flag(machine)))

    @classmethod
    def exists(cls, name: str, *, machine: bool = False, provider: str = DEFAULT_PROVIDER) -> bool:
        """There is a key of this name that this user may open."""
        try:
            cls.open(name, machine=machine, provider=provider).close()
        except NCryptError as error:
            if error.status == Status.NTE_BAD_KEYSET:
                return False
            raise
        return True

    @classmethod
    def import_key(
        cls,
        name: str | None,
        pkcs8: bytes,
        *,
        password: str | None = None,
        machine: bool = False,
        overwrite: bool = False,
        usage: KeyUsage = KeyUsage.ALL,
        export_policy: ExportPolicy = ExportPolicy.NONE,
        protection: Protection = Protection.SOFTWARE,
        per_boot: bool = False,
        provider: str = DEFAULT_PROVIDER,
    ) -> Self:
        """Import a private key in DER PKCS #8. Whoever had the file can still have the key."""
        opened = ncrypt.NCryptOpenStorageProvider(provider)
        parameters = []
        if name is not None:
            parameters.append(ncrypt.NCryptBuffer(f.NCRYPTBUFFER_PKCS_KEY_NAME, name))
        if password is not None:
            parameters.append(ncrypt.NCryptBuffer(f.NCRYPTBUFFER_PKCS_SECRET, password))
        handle = ncrypt.NCryptImportKey(
            opened,
            None,
            names.NCRYPT_PKCS8_PRIVATE_KEY_BLOB,
            parameters,
            pkcs8,
            _flags(machine, overwrite, protection, per_boot) | f.NCRYPT_DO_NOT_FINALIZE_FLAG,
        )
        return cls._finalized(handle, usage, export_policy)

    # --- what it is ----------------------------------------------------------------------------

    @property
    def handle(self) -> ncrypt.NCryptKeyHandle:
        """For `keyiso.ncrypt`."""
        return self._handle

    @property
    def name(self) -> str | None:
        """None for an ephemeral key."""
        return None if self.ephemeral else self._string(names.NCRYPT_NAME_PROPERTY)

    @property
    def unique_name(self) -> str:
        """Tells this key from an earlier or later one of the same name."""
        return self._string(names.NCRYPT_UNIQUE_NAME_PROPERTY)

    @property
    def algorithm(self) -> str:
        """Its CNG identifier."""
        return self._algorithm

    @property
    def length(self) -> int:
        """Bits."""
        return self._dword(names.NCRYPT_LENGTH_PROPERTY)

    @property
    def usage(self) -> KeyUsage:
        return KeyUsage(self._dword(names.NCRYPT_KEY_USAGE_PROPERTY))

    @property
    def export_policy(self) -> ExportPolicy:
        return ExportPolicy(self._dword(names.NCRYPT_EXPORT_POLICY_PROPERTY))

    @property
    def machine(self) -> bool:
        """In the machine's scope, not in a user's."""
        return bool(self._dword(names.NCRYPT_KEY_TYPE_PROPERTY) & f.NCRYPT_MACHINE_KEY_FLAG)

    @property
    def ephemeral(self) -> bool:
        """It ends when it is closed, or with this process."""
        try:
            ncrypt.NCryptGetProperty(self._handle, names.NCRYPT_NAME_PROPERTY)
        except NCryptError as error:
            if error.status == Status.NTE_NOT_SUPPORTED:
                return True
            raise
        return False

    @property
    def access(self) -> tuple[AccessRule, ...]:
        """Who may use and manage a persisted key."""
        return rules_of_descriptor(
            ncrypt.NCryptGetProperty(
                self._handle, names.NCRYPT_SECURITY_DESCR_PROPERTY, f.DACL_SECURITY_INFORMATION
            )
        )

    def set_access(self, rules: Iterable[AccessRule]) -> None:
        """Replace the list of who may use and manage the key; somebody must manage it.

        Who is no longer on it cannot use the key when this has returned. A user's own keys are
        found by that user alone: keys that several users share are keys of the machine.
        """
        ncrypt.NCryptSetProperty(
            self._handle,
            names.NCRYPT_SECURITY_DESCR_PROPERTY,
            rules_to_descriptor(rules),
            f.DACL_SECURITY_INFORMATION,
        )

    @property
    def protection(self) -> ProtectionReport:
        """What the key really has, and what that does not stop."""
        isolated = self._dword_or_0(names.NCRYPT_USE_VIRTUAL_ISOLATION_PROPERTY)
        ends_with_boot = self._dword_or_0(names.NCRYPT_USE_PER_BOOT_KEY_PROPERTY)
        lifetime = "ephemeral" if self.ephemeral else "per-boot" if ends_with_boot else "persisted"
        return protection_report("vbs" if isolated else "software", lifetime, self._origin())

    def public_key(self) -> PublicKey:
        """The public key, as `cryptography` has it."""
        blob = ncrypt.NCryptExportKey(self._handle, None, names.BCRYPT_PUBLIC_KEY_BLOB)
        return import_public_blob(blob)[0]

    # --- using it ------------------------------------------------------------------------------

    def sign(
        self,
        data: bytes,
        *,
        hash: str = "SHA256",
        padding: str | None = None,
        salt_length: int | None = None,
    ) -> bytes:
        """Hash and sign. See `sign_digest`. Ed25519 signs the data itself."""
        return self.sign_digest(
            self._hashed(hash, data), hash=hash, padding=padding, salt_length=salt_length
        )

    def sign_digest(
        self,
        digest: bytes,
        *,
        hash: str = "SHA256",
        padding: str | None = None,
        salt_length: int | None = None,
    ) -> bytes:
        """Sign what is already hashed, by ``hash`` (a CNG identifier).

        RSA: ``padding`` is "PSS" (the default; ``salt_length`` in bytes, by default the hash's
        length) or "PKCS1". ECDSA signatures are r and s, each of the curve's size, not DER.
        """
        info, padding_flag = signature_padding(self._algorithm, digest, hash, padding, salt_length)
        return ncrypt.NCryptSignHash(self._handle, info, digest, padding_flag)

    def sign_digests(
        self,
        digests: Sequence[bytes],
        *,
        hash: str = "SHA256",
        padding: str | None = None,
        salt_length: int | None = None,
    ) -> list[bytes]:
        """`sign_digest` for many, in their order: several times as fast where they are dozens.

        Raises when one of them cannot be signed; the others are then lost.
        """
        if not digests:
            return []
        info, padding_flag = signature_padding(
            self._algorithm, digests[0], hash, padding, salt_length
        )
        return ncrypt.KeyisoSignHashes(self._handle, info, digests, padding_flag)

    def verify(
        self,
        signature: bytes,
        data: bytes,
        *,
        hash: str = "SHA256",
        padding: str | None = None,
        salt_length: int | None = None,
    ) -> None:
        """Return when the signature is right; raises `InvalidSignatureError` when it is not."""
        self.verify_digest(
            signature, self._hashed(hash, data), hash=hash, padding=padding, salt_length=salt_length
        )

    def verify_digest(
        self,
        signature: bytes,
        digest: bytes,
        *,
        hash: str = "SHA256",
        padding: str | None = None,
        salt_length: int | None = None,
    ) -> None:
        """Like `verify`, for what is already hashed."""
        info, padding_flag = signature_padding(self._algorithm, digest, hash, padding, salt_length)
        ncrypt.NCryptVerifySignature(self._handle, info, digest, signature, padding_flag)

    def encrypt(self, data: bytes, *, padding: str = "OAEP", hash: str = "SHA256") -> bytes:
        """RSA: encrypt a short message with "OAEP" or "PKCS1"; needs only the public key.

        AES: encrypt and authenticate up to 60 KiB with a fresh nonce; `decrypt` takes it back.
        """
        if self._algorithm != names.NCRYPT_AES_ALGORITHM:
            info, padding_flag = encryption_padding(padding, hash)
            return ncrypt.NCryptEncrypt(self._handle, data, info, padding_flag)
        nonce = os.urandom(NONCE_BYTES)
        mode = ncrypt.BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO(nonce, bytearray(TAG_BYTES))
        ciphertext = ncrypt.NCryptEncrypt(
            self._handle, data, ncrypt.NCRYPT_CIPHER_PADDING_INFO(pbOtherInfo=mode), _PAD_CIPHER
        )
        return bytes([ENCRYPTED_VERSION]) + nonce + bytes(mode.pbTag) + ciphertext

    def decrypt(self, data: bytes, *, padding: str = "OAEP", hash: str = "SHA256") -> bytes:
        """What `encrypt` was given. Raises ``NTE_DECRYPTION_FAILURE`` where it was changed."""
        if self._algorithm != names.NCRYPT_AES_ALGORITHM:
            info, padding_flag = encryption_padding(padding, hash)
            return ncrypt.NCryptDecrypt(self._handle, data, info, padding_flag)
        start = 1 + NONCE_BYTES + TAG_BYTES
        if len(data) < start or data[0] != ENCRYPTED_VERSION:
            raise ncrypt_error(Status.NTE_BAD_DATA, "this is not what Key.encrypt makes")
        mode = ncrypt.BCRYPT_AUTHENTICATED_CIPHER_MODE_INFO(
            data[1 : 1 + NONCE_BYTES], bytearray(data[1 + NONCE_BYTES : start])
        )
        return ncrypt.NCryptDecrypt(
            self._handle,
            data[start:],
            ncrypt.NCRYPT_CIPHER_PADDING_INFO(pbOtherInfo=mode),
            _PAD_CIPHER,
        )

    def agree(
        self,
        peer: ec.EllipticCurvePublicKey,
        *,
        length: int = 32,
        hash: str = "SHA256",
        salt: bytes = b"",
        info: bytes = b"",
    ) -> bytes:
        """A key of ``length`` bytes that the owner of ``peer`` can derive too (ECDH and HKDF)."""
        parameters = [
            ncrypt.NCryptBuffer(f.KDF_HASH_ALGORITHM, hash),
            ncrypt.NCryptBuffer(f.KDF_HKDF_SALT, salt),
            ncrypt.NCryptBuffer(f.KDF_HKDF_INFO, info),
        ]
        return self._derive(peer, names.BCRYPT_KDF_HKDF, parameters, length)

    def export(self, *, password: str | None = None) -> bytes:
        """The private key as DER PKCS #8, encrypted if there is a password.

        Raises ``NTE_NOT_SUPPORTED`` where the key's export policy does not allow it.
        """
        parameters = []
        if password is not None:
            if not password:
                raise ValueError("an empty password would leave the key in the clear")
            parameters.append(ncrypt.NCryptBuffer(f.NCRYPTBUFFER_PKCS_SECRET, password))
        return ncrypt.NCryptExportKey(
            self._handle, None, names.NCRYPT_PKCS8_PRIVATE_KEY_BLOB, parameters
        )

    def private_key(self) -> HeldPrivateKey:
        """The key as a private key of `cryptography`, for certificate builders, PyJWT and so on.

        It works for as long as this object is open.
        """
        return held_private_key(_Holder(self), self.public_key())

    def delete(self) -> None:
        """Delete the key for everybody, at once, and close this object."""
        ncrypt.NCryptDeleteKey(self._handle)

    def close(self) -> None:
        """Close the object. An ephemeral key ends; closing twice is no error."""
        if ncrypt.NCryptIsKeyHandle(self._handle):
            ncrypt.NCryptFreeObject(self._handle)

    def __repr__(self) -> str:
        if not ncrypt.NCryptIsKeyHandle(self._handle):
            return "<Key closed>"
        return f"<Key {self.name!r} {self._algorithm}>"

    # --- how -----------------------------------------------------------------------------------

    _handle: ncrypt.NCryptKeyHandle
    _algorithm: str

    @classmethod
    def _of(cls, handle: ncrypt.NCryptKeyHandle) -> Self:
        key = object.__new__(cls)
        key._handle = handle
        key._algorithm = key._string(names.NCRYPT_ALGORITHM_PROPERTY)
        return key

    @classmethod
    def _finalized(
        cls, handle: ncrypt.NCryptKeyHandle, usage: KeyUsage, export_policy: ExportPolicy
    ) -> Self:
        _set_dword(handle, names.NCRYPT_KEY_USAGE_PROPERTY, usage)
        _set_dword(handle, names.NCRYPT_EXPORT_POLICY_PROPERTY, export_policy)
        ncrypt.NCryptFinalizeKey(handle)
        return cls._of(handle)

    def _hashed(self, hash: str, data: bytes) -> bytes:
        return data if self._algorithm == ED25519 else hash_of(hash, data)

    def _derive(
        self,
        peer: ec.EllipticCurvePublicKey,
        kdf: str,
        parameters: list[ncrypt.NCryptBuffer],
        length: int = 0,
    ) -> bytes:
        blob = export_public_blob(peer, "ECDH", names.BCRYPT_ECCPUBLIC_BLOB)
        own = ncrypt.NCryptGetProperty(self._handle, names.NCRYPT_PROVIDER_HANDLE_PROPERTY)
        provider = cast("ncrypt.NCryptProvHandle", own)
        public = ncrypt.NCryptImportKey(provider, None, names.BCRYPT_ECCPUBLIC_BLOB, None, blob)
        secret = ncrypt.NCryptSecretAgreement(self._handle, public)
        try:
            return ncrypt.NCryptDeriveKey(secret, kdf, parameters, cbDerivedKey=length)
        finally:
            for handle in (secret, public, provider):
                ncrypt.NCryptFreeObject(handle)

    def _origin(self) -> str:
        try:
            return self._string(names.KEYISO_ORIGIN_PROPERTY)
        except NCryptError:
            return ""  # another provider, which does not say

    def _string(self, name: str) -> str:
        value = ncrypt.NCryptGetProperty(self._handle, name)
        return value.decode("utf-16-le", "surrogatepass").removesuffix("\0")

    def _dword_or_0(self, name: str) -> int:
        """0 where the provider does not say."""
        try:
            return self._dword(name)
        except NCryptError:
            return 0

    def _dword(self, name: str) -> int:
        return int(struct.unpack("<I", ncrypt.NCryptGetProperty(self._handle, name))[0])


@dataclass(frozen=True, slots=True)
class _Holder:
    """A key as `keyiso.private_keys` uses it."""

    key: Key

    def sign_hash(self, info: ncrypt.PaddingInfo, digest: bytes, flags: int) -> bytes:
        return ncrypt.NCryptSignHash(self.key.handle, info, digest, flags)

    def decrypt(self, ciphertext: bytes, info: ncrypt.EncryptionPaddingInfo, flags: int) -> bytes:
        return ncrypt.NCryptDecrypt(self.key.handle, ciphertext, info, flags)

    def exchange(self, peer: ec.EllipticCurvePublicKey) -> bytes:
        # CNG gives the secret itself little-endian.
        return self.key._derive(peer, names.BCRYPT_KDF_RAW_SECRET, [])[::-1]

    def export_pkcs8(self, password: bytes | None) -> bytes:
        return self.key.export(password=None if password is None else password.decode("utf-8"))


def _set_dword(handle: ncrypt.NCryptKeyHandle, name: str, value: int) -> None:
    if not 0 <= value <= 0xFFFFFFFF:
        raise ValueError(f"{name} is a number of 32 bits, not {value}")
    ncrypt.NCryptSetProperty(handle, name, struct.pack("<I", value))


def _flags(machine: bool, overwrite: bool, protection: Protection, per_boot: bool) -> int:
    overwriting = f.NCRYPT_OVERWRITE_KEY_FLAG if overwrite else 0
    lasting = f.NCRYPT_USE_PER_BOOT_KEY_FLAG if per_boot else 0
    return scope_flag(machine) | overwriting | protection.value | lasting
