"""Files that are there whole or not at all, after a crash too."""

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_WAL = "-wal"
_SHARED_MEMORY = "-shm"


@contextlib.contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[BinaryIO]:
    """A file to write, which has its name once it is whole and durable. Its mode is 0600.

    Raises ``FileExistsError`` when there is one of the name, unless it may be replaced; what is
    no ordinary file is never replaced.
    """
    check_is_free(path, replace=replace)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".keyiso-backup-")
    try:
        with open(descriptor, "wb") as file:
            yield file
            _sync(file)
        if replace or not _link(temporary, path):
            check_is_free(path, replace=replace)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    sync_directory(path.parent)


def check_is_free(path: Path, *, replace: bool) -> None:
    """Raises ``FileExistsError`` when a new file could not have this name."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not (replace and stat.S_ISREG(mode)):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _link(source: str, path: Path) -> bool:
    """Give a file another name that is not taken. False where file systems have no such thing,
    as those of memory sticks.
    """
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise
        return False
    return True


def put_in_place(path: Path, data: BinaryIO) -> Path | None:
    """Give a file other contents, and keep what it had under another name, which is returned.

    Whenever this is interrupted, the path leads to the old file or to the new one. Only one
    process may do it at a time. A write-ahead log of a database is kept with it: one that is
    whole has none any more when nobody has it open, but a damaged one may.
    """
    new = path.with_name(path.name + ".restoring")
    new.unlink(missing_ok=True)  # of a run that was interrupted
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            shutil.copyfileobj(data, file)
            _sync(file)
        kept = _keep(path) if os.path.lexists(path) else None
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return kept


def _keep(path: Path) -> Path:
    """A second name for a file, and for its log, which then must not stay beside the new one."""
    kept = next(
        name
        for number in range(1, 1 << 20)
        if not os.path.lexists(name := _kept_name(path, number))
        and not os.path.lexists(_beside(name, _WAL))
    )
    log = _beside(path, _WAL)
    if os.path.lexists(log):
        os.link(log, _beside(kept, _WAL), follow_symlinks=False)
    os.link(path, kept, follow_symlinks=False)
    sync_directory(path.parent)
    for suffix in (_WAL, _SHARED_MEMORY):
        _beside(path, suffix).unlink(missing_ok=True)
    return kept


def _kept_name(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.before-restore-{number}")


def _beside(path: Path, suffix: str) -> Path:
    """A file that SQLite keeps beside a database."""
    return path.with_name(path.name + suffix)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
