"""Putting a backup in place. Each file is the old one or the new one, whenever this is killed.

The root comes before the store: a root without a store does no harm, and a restore that was
interrupted between the two is made whole by doing it again.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

from keyiso.backup.contents import Contents
from keyiso.backup.files import put_in_place
from keyiso.backup.manifest import damaged
from keyiso.backup.ownership import acting_as_owner, service_users
from keyiso.backup.root_file import RootFile
from keyiso.backup.sealed_root import open_root
from keyiso.backup.snapshot import settle
from keyiso.errors import ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.supervisor.layout import make_directories, make_state, take_lock
from keyiso.trustlet.roots import machine_root_of_file


@contextlib.contextmanager
def held(instance: Instance) -> Iterator[None]:
    """The instance does not run, and nobody starts it meanwhile.

    Raises ``KEYISO_E_STORE`` when it runs.
    """
    if not instance.state.exists():
        make_state(instance)
    lock = take_lock(instance.lock)
    if lock is None:
        raise ncrypt_error(
            Status.KEYISO_E_STORE,
            f"keyiso runs in {instance.state}, and a store has one writer",
            "End it with `keyiso stop`, and the programs that would start it again.",
        )
    try:
        yield
    finally:
        os.close(lock)


def unsealed_root(contents: Contents, password: bytes) -> RootFile:
    """The machine root of a backup that has one.

    Raises ``NTE_BAD_DATA`` for a wrong password, or a backup that was changed.
    """
    manifest = contents.manifest
    if manifest.root is None:
        raise damaged("it has no machine root")
    data = open_root(manifest.root, password, manifest.snapshot_sha256)
    return RootFile(machine_root_of_file(data, Path("the backup")).root_id, data)


def install(
    instance: Instance,
    snapshot: Path,
    root: RootFile | None,
    enrolment: bytes,
    *,
    keyiso_user: str,
    trustlet_user: str,
) -> tuple[Path, ...]:
    """Put the store, and before it the root and the enrolment if there are any, in place of what
    is there.

    Returns where what was there is kept. The users are for a system instance whose directories
    have to be made. The instance must be held.
    """
    store, machine_root = instance.store, instance.software_machine_root
    if not all(path.parent.exists() for path in (store, machine_root, instance.vbs_enrolment)):
        make_directories(instance, *service_users(instance, keyiso_user, trustlet_user))
    kept = []
    if root is not None:
        with acting_as_owner(machine_root.parent):
            kept.append(put_in_place(machine_root, io.BytesIO(root.data)))
    if enrolment:
        with acting_as_owner(instance.vbs_trustlet):
            kept.append(put_in_place(instance.vbs_enrolment, io.BytesIO(enrolment)))
    with open(snapshot, "rb") as file, acting_as_owner(store.parent):
        settle(store)
        kept.append(put_in_place(store, file))
    return tuple(path for path in kept if path is not None)
