"""What is in a backup."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from keyiso.backup.archive import read_archive
from keyiso.backup.holdings import HeldKey, held_keys, holdings_of
from keyiso.backup.manifest import Manifest, damaged
from keyiso.backup.snapshot import opened_snapshot
from keyiso.store.keys import KeyReader


@dataclass(frozen=True, slots=True)
class Contents:
    """A backup that was written, or read and found whole."""

    manifest: Manifest
    keys: tuple[HeldKey, ...]


_WHERE: Final = "of the backup"
"""Which store a message is about."""


def read_contents(file: BinaryIO, snapshot: Path) -> Contents:
    """Check a backup from its first byte to its last row, and write its store to a file.

    Raises ``NTE_BAD_DATA`` for what is no backup, or not as it was written; ``NTE_BAD_VER`` for
    one of a newer keyiso; ``KEYISO_E_LIMIT`` or ``KEYISO_E_STORE`` for one that no keyiso makes.
    """
    manifest = read_archive(file, snapshot)
    with opened_snapshot(snapshot, _WHERE) as connection:
        keys = held_keys(KeyReader(connection, Path(_WHERE)))
    if holdings_of(keys) != manifest.holdings:
        raise damaged("its manifest tells of other keys than its store has")
    return Contents(manifest, keys)
