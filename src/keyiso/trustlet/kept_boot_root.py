"""The boot root in the care of the TPM, for when all armed workers of a boot have ended.

It is sealed in the NULL hierarchy, whose seed the TPM forgets at its reset, and carries a MAC under
the machine root, so that nobody can put one in its place that he knows. Layout: version (1 byte,
1), then msgpack. Nothing in it is secret.
"""

import hmac
from typing import Final

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyiso import limits
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status
from keyiso.tpm.sealed_root import SealedRoot, decode_sealed_root, seal_boot_root, unseal_root
from keyiso.tpm.tpm import Tpm

VERSION: Final = 1


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    root_id: bytes
    sealed: bytes
    mac: bytes


def keep_boot_root(tpm: Tpm, boot: Root, machine: Root, like: SealedRoot) -> bytes:
    """What is to be stored of a boot root. It opens under the same conditions as ``like``."""
    sealed = seal_boot_root(tpm, boot.secret, like.srk, like.pcrs).encode()
    kept = _Kept(boot.root_id, sealed, _mac(machine, boot.root_id, sealed))
    return bytes([VERSION]) + msgspec.msgpack.encode(kept)


def open_boot_root(tpm: Tpm, data: bytes, machine: Root) -> Root:
    """The boot root that was stored.

    Raises ``NTE_BAD_DATA`` and ``NTE_BAD_VER`` for what no worker with this machine root has
    stored, ``KEYISO_E_ROOT_MISSING`` for that of another boot, and as `unseal_root` does.
    """
    root_id, sealed = read_kept(data, machine)
    secret = unseal_root(tpm, sealed)
    if len(secret) != SECRET_BYTES:
        raise _damaged()
    return Root(root_id, "boot", secret)


def read_kept(data: bytes, machine: Root) -> tuple[bytes, SealedRoot]:
    """The id of the boot root that was stored, and what the TPM opens. Raises ``NTE_BAD_DATA`` and
    ``NTE_BAD_VER`` as `open_boot_root` does.
    """
    if data[:1] != bytes([VERSION]):
        raise ncrypt_error(Status.NTE_BAD_VER, "the kept boot root has a version not known here")
    try:
        kept = msgspec.msgpack.decode(data[1:], type=_Kept)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _damaged() from None
    if len(kept.root_id) != limits.ROOT_ID_BYTES or not hmac.compare_digest(
        kept.mac, _mac(machine, kept.root_id, kept.sealed)
    ):
        raise _damaged()
    return kept.root_id, decode_sealed_root(kept.sealed)


def _mac(machine: Root, root_id: bytes, sealed: bytes) -> bytes:
    derivation = HKDF(hashes.SHA256(), 32, salt=None, info=b"keyiso kept boot root 1")
    return hmac.digest(derivation.derive(machine.secret), root_id + sealed, "sha256")


def _damaged() -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, "the kept boot root is not one of this machine root")
