"""What the software provider does with a key: sign, encrypt, agree. One round trip each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from keyiso import limits
from keyiso.client.binding import Binding
from keyiso.client.reference import KeyReference
from keyiso.crypto.agreement import Derivation
from keyiso.crypto.ciphers import BLOCK_BYTES, TAG_BYTES
from keyiso.crypto.encryption import encrypt_rsa
from keyiso.crypto.public_keys import public_key_der
from keyiso.crypto.signatures import NO_PADDING, Padding, signature_bytes, verify_digest
from keyiso.errors import ncrypt_error
from keyiso.flags import (
    KDF_USE_SECRET_AS_HMAC_KEY_FLAG,
    NCRYPT_PAD_PKCS1_FLAG,
    NCRYPT_PAD_PSS_FLAG,
    NCRYPT_SIGNATURE_OPERATION,
    NCRYPT_SILENT_FLAG,
)
from keyiso.function_table import (
    BCRYPT_PKCS1_PADDING_INFO,
    BCRYPT_PSS_PADDING_INFO,
    EncryptionPaddingInfo,
    NCryptBuffer,
    PaddingInfo,
)
from keyiso.providers.software_encryption import (
    ENCRYPTION_FLAGS,
    cipher_parameters,
    kdf_parameters,
    rsa_padding,
)
from keyiso.providers.software_key import SoftwareKey
from keyiso.status import Status
from keyiso.wire.channel import Decipher, Decrypt, Derive, Encipher, Sign

_PADDING_FLAGS: Final = NCRYPT_PAD_PKCS1_FLAG | NCRYPT_PAD_PSS_FLAG


_RSA_AT_ONCE: Final = 8
"""Hashes in one call: an RSA signature takes ten times as long as one on a curve, and the other
clients of the worker wait for all of them."""


@dataclass(frozen=True, slots=True)
class AgreedSecret:
    """What a secret handle stands for: the two keys. The secret itself is made, each time it is
    needed, in the worker, so that no restart can lose it.
    """

    reference: KeyReference
    peer: bytes
    """DER SubjectPublicKeyInfo."""


class KeyOperations:
    """The operations, over one binding of this process."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    def sign_hash(
        self,
        provider: Any,
        key: SoftwareKey,
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
        return self._binding.perform(
            "SignHash", reference, lambda slot: Sign(slot, digest, padding)
        ).value

    def sign_hashes(
        self,
        provider: Any,
        key: SoftwareKey,
        padding_info: PaddingInfo,
        digests: Sequence[bytes],
        flags: int,
    ) -> list[bytes]:
        padding = signature_padding(padding_info, flags)
        reference = key.ready()
        for digest in digests:
            check_message(digest)
        is_rsa = key.algorithm.family == "rsa"
        at_once = _RSA_AT_ONCE if is_rsa else limits.DIGESTS_PER_BATCH
        return self._binding.sign_many("SignHashes", reference, digests, padding, at_once)

    def encrypt(
        self,
        provider: Any,
        key: SoftwareKey,
        message: bytes,
        info: EncryptionPaddingInfo,
        flags: int,
        *,
        probe: bool = False,
    ) -> bytes | int:
        check_flags(flags, ENCRYPTION_FLAGS | NCRYPT_SILENT_FLAG)
        if isinstance(key.public_key, rsa.RSAPublicKey):
            if probe:
                return (key.bits + 7) // 8
            return encrypt_rsa(key.public_key, message, rsa_padding(info, flags))
        reference = _cipher_key(key)
        parameters, other = cipher_parameters(info, flags, key.chaining_mode)
        if probe:
            padded = len(message) // BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES
            return padded if parameters.pad else len(message)
        ciphertext = self._binding.perform(
            "Encrypt", reference, lambda slot: Encipher(slot, message, parameters)
        ).value
        if other is None:
            return ciphertext
        other.pbTag[:] = ciphertext[-TAG_BYTES:]
        return ciphertext[:-TAG_BYTES]

    def decrypt(
        self,
        provider: Any,
        key: SoftwareKey,
        ciphertext: bytes,
        info: EncryptionPaddingInfo,
        flags: int,
        *,
        probe: bool = False,
    ) -> bytes | int:
        check_flags(flags, ENCRYPTION_FLAGS | NCRYPT_SILENT_FLAG)
        if isinstance(key.public_key, rsa.RSAPublicKey):
            padding = rsa_padding(info, flags)
            reference = key.ready()
            if probe:
                return (key.bits + 7) // 8  # an upper bound, as in CNG
            return self._binding.perform(
                "Decrypt", reference, lambda slot: Decrypt(slot, ciphertext, padding)
            ).value
        reference = _cipher_key(key)
        parameters, other = cipher_parameters(info, flags, key.chaining_mode)
        if probe:
            return len(ciphertext)
        whole = ciphertext + bytes(other.pbTag) if other is not None else ciphertext
        return self._binding.perform(
            "Decrypt", reference, lambda slot: Decipher(slot, whole, parameters)
        ).value

    def secret_agreement(
        self, provider: Any, private: SoftwareKey, public: SoftwareKey, flags: int
    ) -> AgreedSecret:
        check_flags(flags, NCRYPT_SILENT_FLAG)
        reference = private.ready()
        if private.algorithm.family != "ecdh":
            raise ncrypt_error(Status.NTE_BAD_ALGID, "only an ECDH key agrees on secrets")
        if public.algorithm != private.algorithm:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER, "the two keys are not of the same algorithm"
            )
        return AgreedSecret(reference, public_key_der(public.public()))

    def derive_key(
        self,
        provider: Any,
        secret: AgreedSecret,
        kdf: str,
        parameters: Sequence[NCryptBuffer],
        size: int,
        flags: int,
        *,
        probe: bool = False,
    ) -> bytes | int:
        check_flags(flags, KDF_USE_SECRET_AS_HMAC_KEY_FLAG | NCRYPT_SILENT_FLAG)
        derivation = Derivation(
            kdf, kdf_parameters(parameters), flags & KDF_USE_SECRET_AS_HMAC_KEY_FLAG, size
        )
        derived = self._binding.perform(
            "DeriveKey", secret.reference, lambda slot: Derive(slot, secret.peer, derivation)
        ).value
        return len(derived) if probe else derived

    def verify_signature(
        self,
        provider: Any,
        key: SoftwareKey,
        padding_info: PaddingInfo,
        digest: bytes,
        signature: bytes,
        flags: int,
    ) -> None:
        public = key.public()
        if not key.algorithm.operations & NCRYPT_SIGNATURE_OPERATION:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED, f"a key of {key.algorithm.name} has no signatures"
            )
        verify_digest(public, digest, signature, signature_padding(padding_info, flags))


def check_message(message: bytes) -> None:
    """Raise ``NTE_INVALID_PARAMETER`` for more than what is signed at once."""
    if len(message) > limits.MESSAGE_BYTES:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            f"what is signed has at most MESSAGE_BYTES ({limits.MESSAGE_BYTES}) bytes",
        )


def check_flags(flags: int, allowed: int) -> None:
    """Raise ``NTE_BAD_FLAGS`` for a flag that the function does not take."""
    if flags & ~allowed:
        raise ncrypt_error(
            Status.NTE_BAD_FLAGS, f"the flags {flags & ~allowed:#x} mean nothing here"
        )


def _hash_name(name: object) -> str:
    if not isinstance(name, str) or len(name) > limits.ALGORITHM_NAME_UNITS:
        raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "a hash is named by its identifier")
    return name


def _cipher_key(key: SoftwareKey) -> KeyReference:
    """The reference of an AES key. Raises for a draft, and for a key that does not encrypt."""
    reference = key.ready()
    if key.algorithm.family != "aes":
        raise ncrypt_error(
            Status.NTE_NOT_SUPPORTED, f"a key of {key.algorithm.name} does not encrypt"
        )
    return reference


def signature_padding(info: PaddingInfo, flags: int) -> Padding:
    """CNG's flag and structure as one value. Raises ``NTE_INVALID_PARAMETER`` where they do not
    agree, and for a salt that is too long.
    """
    if info is None and not flags:
        return NO_PADDING
    check_flags(flags, _PADDING_FLAGS | NCRYPT_SILENT_FLAG)
    scheme = flags & _PADDING_FLAGS
    if scheme == 0 and info is None:
        return NO_PADDING
    if scheme == NCRYPT_PAD_PKCS1_FLAG and isinstance(info, BCRYPT_PKCS1_PADDING_INFO):
        return Padding(scheme, _hash_name(info.pszAlgId or ""))
    if scheme == NCRYPT_PAD_PSS_FLAG and isinstance(info, BCRYPT_PSS_PADDING_INFO):
        if not 0 <= info.cbSalt <= limits.SALT_BYTES:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER, f"a salt has 0 to {limits.SALT_BYTES} bytes"
            )
        return Padding(scheme, _hash_name(info.pszAlgId), info.cbSalt)
    raise ncrypt_error(
        Status.NTE_INVALID_PARAMETER, "the padding flag and the padding information do not agree"
    )
