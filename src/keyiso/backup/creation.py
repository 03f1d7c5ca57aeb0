"""Making a backup of an instance, which may be running meanwhile."""

import os
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from keyiso.backup.archive import sha256_of, write_archive
from keyiso.backup.contents import Contents
from keyiso.backup.holdings import held_keys, holdings_of
from keyiso.backup.machine import machine_hash
from keyiso.backup.manifest import Manifest
from keyiso.backup.ownership import acting_as_owner, check_is_ours
from keyiso.backup.root_file import RootFile
from keyiso.backup.sealed_root import seal_root
from keyiso.backup.snapshot import opened_snapshot, take_snapshot
from keyiso.errors import ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.store.keys import KeyReader
from keyiso.store.schema import SCHEMA_VERSION
from keyiso.tpm.enrolment import Enrolment, encode_enrolment


def check_has_store(instance: Instance) -> None:
    """Raises ``NTE_PERM`` for somebody else's instance, ``NTE_NOT_FOUND`` for one with no store."""
    check_is_ours(instance)
    if not instance.store.exists():
        raise ncrypt_error(
            Status.NTE_NOT_FOUND,
            f"there is no key store {instance.store}: no key was ever made there",
            "Name the keyiso that is meant: KEYISO_HOME for one of your own, --system for the"
            " system's.",
        )


def create_backup(
    instance: Instance,
    file: BinaryIO,
    *,
    root: RootFile | None = None,
    password: bytes = b"",
    enrolment: Enrolment | None = None,
    now: float,
    random: Callable[[int], bytes] = os.urandom,
) -> Contents:
    """Write a backup of the keys, with the machine root under a password where one is given, and
    with the enrolment, which needs none.

    Raises ``KEYISO_E_STORE`` for a store that cannot be read, ``NTE_BAD_DATA`` for one that is
    not whole.
    """
    keyiso_version = version("keyiso")  # from a place that the owner need not reach
    with (
        acting_as_owner(instance.store.parent),
        tempfile.TemporaryDirectory(prefix="keyiso-backup-") as directory,
    ):
        snapshot = Path(directory, "snapshot")
        take_snapshot(instance.store, snapshot)
        with opened_snapshot(snapshot, str(instance.store)) as connection:
            keys = held_keys(KeyReader(connection, instance.store))
        digest = sha256_of(snapshot)
        sealed = None
        if root is not None:
            sealed = seal_root(root.root_id, root.data, password, digest, random=random)
        manifest = Manifest(
            keyiso_version=keyiso_version,
            created=now,
            machine=machine_hash(),
            system=instance.system,
            schema_version=SCHEMA_VERSION,
            holdings=holdings_of(keys),
            snapshot_bytes=snapshot.stat().st_size,
            snapshot_sha256=digest,
            root=sealed,
            enrolment=b"" if enrolment is None else encode_enrolment(enrolment),
        )
        write_archive(file, manifest, snapshot)
    return Contents(manifest, keys)
