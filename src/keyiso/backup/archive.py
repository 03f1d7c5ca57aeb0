"""The file of a backup.

Layout: ``keyiso-backup`` and the version (1 byte, 1), length of the manifest (u32 little-endian),
SHA-256 of the manifest, manifest (msgpack), snapshot (an SQLite database, to the end of the file).
The manifest has the snapshot's length and SHA-256, so that a file that was cut or changed is
noticed. Both are against accidents: who can write the file can write other sums into it.
"""

import hashlib
import struct
from pathlib import Path
from typing import BinaryIO, Final

from keyiso import limits
from keyiso.backup.manifest import (
    SHA256_BYTES,
    Manifest,
    damaged,
    decode_manifest,
    encode_manifest,
)
from keyiso.errors import ncrypt_error
from keyiso.status import Status

MAGIC: Final = b"keyiso-backup"
VERSION: Final = 1
_HEAD: Final = struct.Struct(f"<{len(MAGIC)}sBI{SHA256_BYTES}s")
_BLOCK_BYTES: Final = 1 << 20


def write_archive(file: BinaryIO, manifest: Manifest, snapshot: Path) -> None:
    """Write a backup whose manifest was made of this very snapshot."""
    encoded = encode_manifest(manifest)
    file.write(_HEAD.pack(MAGIC, VERSION, len(encoded), hashlib.sha256(encoded).digest()))
    file.write(encoded)
    with open(snapshot, "rb") as source:
        while block := source.read(_BLOCK_BYTES):
            file.write(block)


def read_archive(file: BinaryIO, snapshot: Path) -> Manifest:
    """The manifest of a backup, and its snapshot written to a file.

    Raises ``NTE_BAD_DATA`` for what is no backup or not as it was written, ``NTE_BAD_VER`` for
    one of a newer format, ``KEYISO_E_LIMIT`` above ``BACKUP_SNAPSHOT_BYTES``.
    """
    manifest = _read_manifest(file)
    if manifest.snapshot_bytes > limits.BACKUP_SNAPSHOT_BYTES:
        raise ncrypt_error(
            Status.KEYISO_E_LIMIT,
            f"the snapshot has {manifest.snapshot_bytes} bytes;"
            f" BACKUP_SNAPSHOT_BYTES is {limits.BACKUP_SNAPSHOT_BYTES}",
        )
    digest, left = hashlib.sha256(), manifest.snapshot_bytes
    with open(snapshot, "wb") as target:
        while block := file.read(min(left, _BLOCK_BYTES)):
            digest.update(block)
            target.write(block)
            left -= len(block)
    if left:
        raise damaged("it is cut short")
    if file.read(1):
        raise damaged("something follows its end")
    if digest.digest() != manifest.snapshot_sha256:
        raise damaged("its snapshot was changed")
    return manifest


def sha256_of(path: Path) -> bytes:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _read_manifest(file: BinaryIO) -> Manifest:
    head = file.read(_HEAD.size)
    if not head.startswith(MAGIC):
        raise ncrypt_error(Status.NTE_BAD_DATA, "the file is not a backup of keyiso")
    if head[len(MAGIC) :][:1] not in (b"", bytes([VERSION])):
        raise ncrypt_error(
            Status.NTE_BAD_VER,
            f"the backup has format version {head[len(MAGIC)]};"
            f" this keyiso reads version {VERSION}",
            "Use the keyiso that wrote it, or a newer one.",
        )
    if len(head) < _HEAD.size:
        raise damaged("it is cut short")
    _, _, length, digest = _HEAD.unpack(head)
    if length > limits.BACKUP_MANIFEST_BYTES:
        raise damaged(f"its manifest is longer than {limits.BACKUP_MANIFEST_BYTES} bytes")
    encoded = file.read(length)
    if len(encoded) < length:
        raise damaged("it is cut short")
    if hashlib.sha256(encoded).digest() != digest:
        raise damaged("its manifest was changed")
    return decode_manifest(encoded)
