"""What a worker does with keys: generate, import, open, sign. No I/O, no clients."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.crypto.agreement import Derivation, agree, derive
from keyiso.crypto.algorithms import ALGORITHMS, algorithm_named
from keyiso.crypto.ciphers import CipherParameters, decipher, encipher
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.encryption import EncryptionPadding, decrypt_rsa
from keyiso.crypto.import_seal import open_import
from keyiso.crypto.key_blob import Root, read_header, seal_key, unseal_key
from keyiso.crypto.key_header import AccessEntry, KeyHeader, Level, Origin, RootKind
from keyiso.crypto.key_types import PrivateKey, SymmetricKey, bits_of
from keyiso.crypto.levels import check_export_policy
from keyiso.crypto.private_export import export_private_key
from keyiso.crypto.private_keys import (
    generate_private_key,
    imported_private_key,
    imported_symmetric_key,
    own_private_key,
    private_key_bytes,
    public_part,
)
from keyiso.crypto.property_seal import open_property, seal_property
from keyiso.crypto.public_keys import load_public_key
from keyiso.crypto.signatures import Padding, sign_digest
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import (
    NCRYPT_ALLOW_DECRYPT_FLAG,
    NCRYPT_ALLOW_KEY_AGREEMENT_FLAG,
    NCRYPT_ALLOW_SIGNING_FLAG,
    NCRYPT_SIGNATURE_OPERATION,
)
from keyiso.identifiers import NCRYPT_AES_ALGORITHM
from keyiso.status import Status
from keyiso.wire.key_terms import KeyGrant, KeyTerms
from keyiso.wire.link import Sealed


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """An unsealed key with its authenticated header."""

    private_key: PrivateKey
    header: KeyHeader

    @property
    def memory(self) -> int:
        """Bytes that it occupies, by measurement."""
        return ALGORITHMS[self.header.algorithm].loaded_bytes + len(self.header.public_key)


def missing_root(kind: RootKind) -> NCryptError:
    """Why a worker cannot open what a root seals: its file was not there when it started."""
    if kind == "machine":
        return ncrypt_error(
            Status.KEYISO_E_ROOT_MISSING,
            "the machine root that seals stored keys is missing or damaged",
            "Restore the instance's state directory from a backup and restart keyiso, which never"
            " makes a new root over existing keys.",
        )
    return ncrypt_error(
        Status.KEYISO_E_ROOT_MISSING,
        "the boot root that seals ephemeral keys is missing or damaged",
        "Remove it from the runtime directory and restart keyiso; ephemeral keys end with it.",
    )


ContainerOpener = Callable[[bytes], ContainerSecret]
"""Gives the secret of the Passport container of this id, or raises."""


def needs_pin(container_id: bytes) -> ContainerSecret:
    """There is no ticket. Raises ``NTE_UI_REQUIRED``."""
    raise ncrypt_error(
        Status.NTE_UI_REQUIRED,
        "the key is in a Passport container, and only its PIN opens that",
        "Open the key with the PIN.",
    )


class Engine:
    """The keys' side of a worker. ``level`` is the protection that this worker gives."""

    def __init__(
        self,
        level: Level,
        machine_root: Root | None,
        boot_root: Root | None,
        *,
        older_roots: Iterable[Root] = (),
        missing: Callable[[RootKind], NCryptError] = missing_root,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """``older_roots`` are machine roots that were replaced: they still open what they sealed.
        ``missing`` says why there is no root of a kind.
        """
        self._level: Final = level
        self._machine_root = machine_root
        self._boot_root = boot_root
        self._older_roots = {root.root_id: root for root in older_roots}
        self._missing = missing
        self._random = random
        self._import_key = X25519PrivateKey.generate()

    @property
    def import_key(self) -> bytes:
        """The public key that imports are sealed to; another one in every worker process."""
        return self._import_key.public_key().public_bytes_raw()

    def generate(
        self, terms: KeyTerms, grant: KeyGrant, container: ContainerSecret | None = None
    ) -> Sealed:
        """A new key, sealed; for a Passport container also wrapped under its secret.

        Raises ``NTE_NOT_SUPPORTED`` for a key of a container that could be exported.
        """
        algorithm = algorithm_named(terms.algorithm)
        if container is not None and terms.export_policy:
            raise ncrypt_error(
                Status.NTE_NOT_SUPPORTED,
                "a key in a Passport container cannot be exported, and its export policy is"
                f" {terms.export_policy:#x}",
                "Ask for no export.",
            )
        key = generate_private_key(algorithm, terms.bits)
        return self._seal(key, terms, grant, terms.algorithm, "generated", container)

    def import_sealed(self, terms: KeyTerms, grant: KeyGrant, sealed: bytes) -> Sealed:
        """A foreign key that was sealed to this worker under these terms, sealed to the root."""
        value = open_import(sealed, self._import_key, terms)
        if terms.algorithm == NCRYPT_AES_ALGORITHM:
            key, algorithm = imported_symmetric_key(value)
        else:
            key, algorithm = imported_private_key(value, terms.usage)
        return self._seal(key, terms, grant, algorithm.name, "imported-sealed")

    def unseal(self, blob: bytes, opener: ContainerOpener = needs_pin) -> LoadedKey:
        """The key of a blob. ``opener`` is asked for the secret of a Passport container.

        Raises what that does, ``NTE_BAD_DATA`` for a blob that was changed, and where its root is
        gone: ``KEYISO_E_EPHEMERAL_GONE``, ``NTE_VBS_CANNOT_DECRYPT_KEY`` (per-boot) or
        ``KEYISO_E_ROOT_MISSING``.
        """
        _, header, value = self._authenticated(blob)
        algorithm = algorithm_named(header.algorithm)
        if header.container_id:
            value = opener(header.container_id).unwrap_key(header.key_id, value)
        return LoadedKey(own_private_key(value, algorithm, header.public_key), header)

    def authenticate(self, blob: bytes) -> KeyHeader:
        """The header of a blob that this worker could open; what a container wraps besides stays
        closed. Raises what `unseal` does.
        """
        _, header, _ = self._authenticated(blob)
        return header if header.container_id else self.unseal(blob).header

    def sign(self, key: LoadedKey, digest: bytes, padding: Padding) -> bytes:
        """A signature.

        Raises ``NTE_PERM`` when the key's usage does not include signing, ``NTE_BAD_ALGID`` when
        its algorithm does not.
        """
        if not ALGORITHMS[key.header.algorithm].operations & NCRYPT_SIGNATURE_OPERATION:
            raise _wrong_algorithm(key, "sign")
        if not key.header.usage & NCRYPT_ALLOW_SIGNING_FLAG:
            raise _not_its_usage("signing")
        return sign_digest(key.private_key, digest, padding)

    def decrypt(self, key: LoadedKey, ciphertext: bytes, padding: EncryptionPadding) -> bytes:
        """The message of an RSA ciphertext. Raises ``NTE_PERM`` as `sign` does."""
        if not key.header.usage & NCRYPT_ALLOW_DECRYPT_FLAG:
            raise _not_its_usage("decrypting")
        if not isinstance(key.private_key, rsa.RSAPrivateKey):
            raise _wrong_algorithm(key, "decrypt")
        return decrypt_rsa(key.private_key, ciphertext, padding)

    def derive(self, key: LoadedKey, peer: bytes, derivation: Derivation) -> bytes:
        """A key from the secret that is agreed on with another public key."""
        if not key.header.usage & NCRYPT_ALLOW_KEY_AGREEMENT_FLAG:
            raise _not_its_usage("key agreement")
        private, public = key.private_key, load_public_key(peer)
        is_ecdh = ALGORITHMS[key.header.algorithm].family == "ecdh"
        if not is_ecdh or not isinstance(private, ec.EllipticCurvePrivateKey):
            raise _wrong_algorithm(key, "agree on secrets")
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise ncrypt_error(Status.NTE_INVALID_PARAMETER, "the other key is not on a curve")
        return derive(agree(private, public), derivation)

    def encipher(self, key: LoadedKey, message: bytes, parameters: CipherParameters) -> bytes:
        """An AES ciphertext."""
        if not key.header.usage & NCRYPT_ALLOW_DECRYPT_FLAG:
            raise _not_its_usage("encryption with AES")
        return encipher(_symmetric(key), message, parameters)

    def decipher(self, key: LoadedKey, ciphertext: bytes, parameters: CipherParameters) -> bytes:
        """The message of an AES ciphertext."""
        if not key.header.usage & NCRYPT_ALLOW_DECRYPT_FLAG:
            raise _not_its_usage("decrypting")
        return decipher(_symmetric(key), ciphertext, parameters)

    def export(self, key: LoadedKey, blob_type: str, password: bytes) -> bytes:
        """The private key as a blob.

        Raises ``NTE_NOT_SUPPORTED`` where the export policy, which is in the sealed header, does
        not allow it, as the Microsoft software provider does.
        """
        return export_private_key(key.private_key, key.header, blob_type, password)

    def seal_property(self, blob: bytes, name: bytes, value: bytes) -> bytes:
        """A property's value, sealed for the key of a blob."""
        root, header, _ = self._authenticated(blob)
        return seal_property(root, header.key_id, name, value, random=self._random)

    def open_property(self, blob: bytes, name: bytes, sealed: bytes) -> bytes:
        """The value of a property that was sealed for the key of a blob."""
        root, header, _ = self._authenticated(blob)
        return open_property(root, header.key_id, name, sealed)

    def change_access(self, blob: bytes, access: tuple[AccessEntry, ...]) -> Sealed:
        """The same key under another access list, one generation on."""
        root, header, value = self._authenticated(blob)
        changed = msgspec.structs.replace(header, access=access, generation=header.generation + 1)
        return Sealed(seal_key(root, changed, value, random=self._random), changed)

    def reseal(self, blob: bytes, root_id: bytes) -> Sealed:
        """The same key under the root that seals new ones, one generation on; as it is when that
        seals it already. What a Passport container wraps besides stays closed.

        Raises ``KEYISO_E_STALE`` when another root is meant than the one that this worker has.
        """
        _, header, value = self._authenticated(blob)
        root = self._root(header.root_kind)
        if root.root_id != root_id:
            raise ncrypt_error(
                Status.KEYISO_E_STALE, "the worker has not got the root that is to seal the keys"
            )
        if header.root_id == root_id:
            return Sealed(blob, header)
        changed = msgspec.structs.replace(header, root_id=root_id, generation=header.generation + 1)
        return Sealed(seal_key(root, changed, value, random=self._random), changed)

    def reseal_property(self, blob: bytes, root_id: bytes, name: bytes, sealed: bytes) -> bytes:
        """A property that a root has sealed, sealed by the one that seals its key now."""
        root, header, _ = self._authenticated(blob)
        before = root if root_id == root.root_id else self._older_roots.get(root_id)
        if before is None:
            raise ncrypt_error(
                Status.KEYISO_E_STALE, "the worker has not got the root that sealed the property"
            )
        value = open_property(before, header.key_id, name, sealed)
        return seal_property(root, header.key_id, name, value, random=self._random)

    def _authenticated(self, blob: bytes) -> tuple[Root, KeyHeader, bytes]:
        """The root, the header and the value of a blob that this worker may open."""
        root = self._root_of(read_header(blob))
        header, value = unseal_key(root, blob)
        if header.level != self._level:
            raise ncrypt_error(
                Status.NTE_BAD_DATA,
                f"a {self._level} worker does not open a key of level {header.level}",
            )
        return root, header, value

    def _seal(
        self,
        key: PrivateKey,
        terms: KeyTerms,
        grant: KeyGrant,
        algorithm: str,
        origin: Origin,
        container: ContainerSecret | None = None,
    ) -> Sealed:
        if terms.level != self._level:
            raise ncrypt_error(
                Status.NTE_INVALID_PARAMETER,
                f"a {self._level} worker makes no key of level {terms.level}",
            )
        check_export_policy(self._level, terms.export_policy)
        root = self._root("machine" if terms.lifetime == "persisted" else "boot")
        header = KeyHeader(
            root_id=root.root_id,
            root_kind=root.kind,
            provider=terms.provider,
            scope=terms.scope,
            owner=terms.owner,
            name=terms.name,
            key_id=self._random(limits.KEY_ID_BYTES),
            origin=origin,
            level=self._level,
            lifetime=terms.lifetime,
            algorithm=algorithm,
            bits=bits_of(key),
            public_key=public_part(key),
            usage=terms.usage,
            export_policy=terms.export_policy,
            access=grant.access,
            generation=grant.generation,
            client_group=grant.client_group,
            container_id=b"" if container is None else container.container_id,
        )
        value = private_key_bytes(key)
        if container is not None:
            value = container.wrap_key(header.key_id, value, random=self._random)
        return Sealed(seal_key(root, header, value, random=self._random), header)

    def _root(self, kind: RootKind) -> Root:
        root = self._boot_root if kind == "boot" else self._machine_root
        if root is None:
            raise self._missing(kind)
        return root

    def _root_of(self, header: KeyHeader) -> Root:
        root = self._root(header.root_kind)
        if header.root_kind == "boot" and header.root_id != root.root_id:
            raise _boot_is_over(header)
        return self._older_roots.get(header.root_id, root)


def _symmetric(key: LoadedKey) -> SymmetricKey:
    if not isinstance(key.private_key, SymmetricKey):
        raise _wrong_algorithm(key, "be used as a cipher")
    return key.private_key


def _not_its_usage(what: str) -> NCryptError:
    """The sealed header says that the key is not for this."""
    return ncrypt_error(
        Status.NTE_PERM,
        f"the key's usage does not include {what}",
        "Create a key whose Key Usage includes it.",
    )


def _wrong_algorithm(key: LoadedKey, verb: str) -> NCryptError:
    return ncrypt_error(
        Status.NTE_BAD_ALGID, f"a key of the algorithm {key.header.algorithm} cannot {verb}"
    )


def _boot_is_over(header: KeyHeader) -> NCryptError:
    if header.lifetime == "ephemeral":
        return ncrypt_error(
            Status.KEYISO_E_EPHEMERAL_GONE,
            "the ephemeral key ended with the root of its boot",
            "Create a new key.",
        )
    return ncrypt_error(
        Status.NTE_VBS_CANNOT_DECRYPT_KEY,
        "the per-boot key was made in an earlier boot",
        "Create a new key; this one can only be deleted.",
    )
