"""Root secrets of ``software`` workers: one file per root, which only the workers' user reads.

Layout of a file: version (1 byte, 1), then msgpack: kind, root id, secret, boot id. The machine
root lasts; a boot root is named by its boot, and what another boot's sealed is gone.
"""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from keyiso import limits
from keyiso.crypto.key_blob import SECRET_BYTES, Root
from keyiso.crypto.key_header import RootKind
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.status import Status

VERSION: Final = 1


class _RootFile(msgspec.Struct, frozen=True, array_like=True):
    kind: RootKind
    root_id: bytes
    secret: bytes
    boot_id: bytes
    """The boot of a boot root; empty for a machine root."""


def machine_root(
    path: Path, *, may_create: bool, random: Callable[[int], bytes] = os.urandom
) -> Root | None:
    """The machine root. None when there is none and a new one must not be made: keys exist that
    only the old one opens.
    """
    found = _read(path)
    if found is None and may_create:
        found = _create(path, "machine", b"", random)
    return None if found is None else _machine_root(found, path)


def machine_root_of_file(data: bytes, path: Path) -> Root:
    """The machine root that a file with these bytes has. ``path`` is for errors.

    Raises ``NTE_BAD_VER`` or ``NTE_BAD_DATA`` for bytes that are not the file of one.
    """
    return _machine_root(_decode(data, path), path)


def boot_root(
    directory: Path, boot_id: bytes, *, random: Callable[[int], bytes] = os.urandom
) -> Root:
    """The root of this boot, made by the first worker that asks; those of others are removed."""
    path = directory / f"boot-root-{boot_id.hex()}"
    root = _read(path) or _create(path, "boot", boot_id, random)
    for other in directory.glob("boot-root-*"):
        if other != path:
            other.unlink(missing_ok=True)
    if root.boot_id != boot_id:
        raise ncrypt_error(Status.NTE_BAD_DATA, f"{path} is the root of another boot")
    return _as_root(root)


def _machine_root(found: _RootFile, path: Path) -> Root:
    if found.kind != "machine":
        raise _not_a_root(path)
    return _as_root(found)


def _as_root(found: _RootFile) -> Root:
    return Root(found.root_id, found.kind, found.secret)


def _read(path: Path) -> _RootFile | None:
    try:
        return _decode(path.read_bytes(), path)
    except FileNotFoundError:
        return None


def _decode(data: bytes, path: Path) -> _RootFile:
    if data[:1] != bytes([VERSION]):
        raise ncrypt_error(Status.NTE_BAD_VER, f"{path} is a root of a version not known here")
    try:
        root = msgspec.msgpack.decode(data[1:], type=_RootFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_a_root(path) from None
    if (
        len(root.root_id) != limits.ROOT_ID_BYTES
        or len(root.secret) != SECRET_BYTES
        or (root.kind == "machine") == bool(root.boot_id)
    ):
        raise _not_a_root(path)
    return root


def _not_a_root(path: Path) -> NCryptError:
    return ncrypt_error(Status.NTE_BAD_DATA, f"{path} is not a root file")


def _create(
    path: Path, kind: RootKind, boot_id: bytes, random: Callable[[int], bytes]
) -> _RootFile:
    """Make a root, whole and durable before it has its name; of several makers one wins."""
    root = _RootFile(kind, random(limits.ROOT_ID_BYTES), random(SECRET_BYTES), boot_id)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with open(descriptor, "wb") as file:
            file.write(bytes([VERSION]) + msgspec.msgpack.encode(root))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another worker was first
            os.link(temporary, path)
    finally:
        os.unlink(temporary)
    _sync_directory(path.parent)
    return _read(path) or root


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
