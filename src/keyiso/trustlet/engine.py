"""What a worker does with keys: generate, import, open, sign. No I/O, no clients."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyiso import limits
from keyiso.crypto.algorithms import ALGORITHMS, algorithm_named
from keyiso.crypto.import_seal import open_import
from keyiso.crypto.key_blob import Root, read_header, seal_key, unseal_key
from keyiso.crypto.key_header import KeyHeader, Level, Origin
from keyiso.crypto.private_keys import (
    generate_private_key,
    imported_private_key,
    own_private_key,
    private_key_bytes,
)
from keyiso.crypto.public_keys import public_key_der
from keyiso.crypto.signatures import Padding, PrivateKey, sign_digest
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.flags import NCRYPT_ALLOW_SIGNING_FLAG
from keyiso.status import Status
from keyiso.wire.operations import KeyGrant, KeyTerms, Sealed


@dataclass(frozen=True, slots=True)
class LoadedKey:
    """An unsealed key with its authenticated header."""

    private_key: PrivateKey
    header: KeyHeader

    @property
    def memory(self) -> int:
        """Bytes that it occupies, by measurement."""
        return ALGORITHMS[self.header.algorithm].loaded_bytes + len(self.header.public_key)


class Engine:
    """The keys' side of a worker. ``level`` is the protection that this worker gives."""

    def __init__(
        self,
        level: Level,
        machine_root: Root | None,
        boot_root: Root,
        *,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._level: Final = level
        self._machine_root = machine_root
        self._boot_root = boot_root
        self._random = random
        self._import_key = X25519PrivateKey.generate()

    @property
    def import_key(self) -> bytes:
        """The public key that imports are sealed to; another one in every worker process."""
        return self._import_key.public_key().public_bytes_raw()

    def generate(self, terms: KeyTerms, grant: KeyGrant) -> Sealed:
        """A new key, sealed."""
        algorithm = algorithm_named(terms.algorithm)
        key = generate_private_key(algorithm, terms.bits)
        return self._seal(key, terms, grant, terms.algorithm, "generated")

    def import_sealed(self, terms: KeyTerms, grant: KeyGrant, sealed: bytes) -> Sealed:
        """A foreign key that was sealed to this worker under these terms, sealed to the root."""
        pkcs8 = open_import(sealed, self._import_key, terms)
        key, algorithm = imported_private_key(pkcs8)
        return self._seal(key, terms, grant, algorithm.name, "imported-sealed")

    def unseal(self, blob: bytes) -> LoadedKey:
        """The key of a blob.

        Raises ``NTE_BAD_DATA`` for a blob that was changed, and where its root is gone:
        ``KEYISO_E_EPHEMERAL_GONE``, ``NTE_VBS_CANNOT_DECRYPT_KEY`` (per-boot) or
        ``KEYISO_E_ROOT_MISSING``.
        """
        claimed = read_header(blob)
        header, pkcs8 = unseal_key(self._root_of(claimed), blob)
        if header.level != self._level:
            raise ncrypt_error(
                Status.NTE_BAD_DATA,
                f"a {self._level} worker does not open a key of level {header.level}",
            )
        return LoadedKey(own_private_key(pkcs8, header.public_key), header)

    def sign(self, key: LoadedKey, digest: bytes, padding: Padding) -> bytes:
        """A signature. Raises ``NTE_PERM`` when the key's usage does not include signing."""
        if not key.header.usage & NCRYPT_ALLOW_SIGNING_FLAG:
            raise ncrypt_error(
                Status.NTE_PERM,
                "the key's usage does not include signing",
                "Create a key whose Key Usage has NCRYPT_ALLOW_SIGNING_FLAG.",
            )
        return sign_digest(key.private_key, digest, padding)

    def _seal(
        self, key: PrivateKey, terms: KeyTerms, grant: KeyGrant, algorithm: str, origin: Origin
    ) -> Sealed:
        root = self._boot_root
        if terms.lifetime == "persisted":
            if self._machine_root is None:
                raise _no_machine_root()
            root = self._machine_root
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
            bits=key.key_size,
            public_key=public_key_der(key.public_key()),
            usage=terms.usage,
            export_policy=terms.export_policy,
            access=grant.access,
            generation=grant.generation,
            client_group=grant.client_group,
        )
        return Sealed(seal_key(root, header, private_key_bytes(key), random=self._random), header)

    def _root_of(self, header: KeyHeader) -> Root:
        if header.root_kind == "boot":
            if header.root_id == self._boot_root.root_id:
                return self._boot_root
            raise _boot_is_over(header)
        if self._machine_root is None:
            raise _no_machine_root()
        return self._machine_root


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


def _no_machine_root() -> NCryptError:
    return ncrypt_error(
        Status.KEYISO_E_ROOT_MISSING,
        "the machine root that seals stored keys is missing",
        "Restore the instance's state directory from a backup; keyiso never makes a new root over"
        " existing keys.",
    )
