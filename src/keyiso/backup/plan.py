"""What a restore would do to an instance, told before it is done."""

import contextlib
import enum
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyiso.backup.contents import Contents
from keyiso.backup.enrolment_file import read_enrolment_file
from keyiso.backup.fate import Fate, fates
from keyiso.backup.holdings import HeldKey, Place, held_keys
from keyiso.backup.ownership import acting_as_owner
from keyiso.backup.root_file import RootFile, read_root_file
from keyiso.backup.snapshot import opened_snapshot, take_snapshot
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.store.keys import KeyReader
from keyiso.tpm.enrolment import Enrolment, decode_enrolment


@dataclass(frozen=True, slots=True)
class Present:
    """An instance as it is before a restore."""

    keys: Mapping[Place, HeldKey]
    store_trouble: NCryptError | None
    """Why nothing is known of the store's keys."""
    root: RootFile | None
    root_trouble: NCryptError | None
    """Why nothing is known of the machine root that there is."""
    enrolment: Enrolment | None = None
    """None also when it is damaged."""


class RootStep(enum.Enum):
    """What a restore does with the machine root."""

    NONE = "none"
    """There is none in the backup, and none that can be read here."""
    KEEP = "keep"
    """There is none in the backup."""
    SAME = "same"
    """The backup's root is the one that is here."""
    INSTALL = "install"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore does."""

    root: RootStep
    enrolment: bytes
    """What is put in the place of an enrolment that is missing, or damaged; empty for nothing."""
    compared: bool
    """The present keys are known. Otherwise the next four do not count."""
    returning: tuple[HeldKey, ...]
    """No key has their name now: they were deleted, or the instance is new."""
    replacing: tuple[HeldKey, ...]
    """Another key has their name now, and ends."""
    changing: tuple[HeldKey, ...]
    """They are here in another generation."""
    ending: tuple[HeldKey, ...]
    """Present keys whose name no key of the backup has."""
    fates: Mapping[Fate, tuple[HeldKey, ...]]


def check_kind(contents: Contents, instance: Instance) -> None:
    """Raises ``NTE_INVALID_PARAMETER`` when the backup is of the other kind of instance."""
    if contents.manifest.system and not instance.system:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            "the backup is of an instance that serves every user",
            "Restore it as root with --system.",
        )
    if instance.system and not contents.manifest.system:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            "the backup is of a user's own instance",
            "Restore it as that user, without --system.",
        )


def look_at(instance: Instance) -> Present:
    """The instance as it is. Nothing of it is changed."""
    keys: Mapping[Place, HeldKey] = {}
    store_trouble = root_trouble = root = enrolment = None
    try:
        keys = _stored(instance)
    except FileNotFoundError:
        pass
    except NCryptError as error:
        store_trouble = error
    try:
        root = read_root_file(instance)
    except NCryptError as error:
        root_trouble = error
    with contextlib.suppress(NCryptError):
        enrolment = read_enrolment_file(instance)
    return Present(keys, store_trouble, root, root_trouble, enrolment)


def plan_restore(
    contents: Contents, present: Present, instance: Instance, *, replace_root: bool
) -> Plan:
    """What restoring this backup would do here.

    Raises ``KEYISO_E_ROOT_MISSING`` when its root could only replace another one, which was not
    asked for.
    """
    step = _root_step(contents, present, replace_root=replace_root)
    root = contents.manifest.root or present.root
    restored = {key.place for key in contents.keys}
    found = [(key, present.keys.get(key.place)) for key in contents.keys]
    same = [(key, old) for key, old in found if old is not None and old.key_id == key.key_id]
    installed = b"" if present.enrolment else contents.manifest.enrolment
    enrolment = decode_enrolment(installed) if installed else present.enrolment
    return Plan(
        root=step,
        enrolment=installed,
        compared=present.store_trouble is None,
        returning=tuple(key for key, old in found if old is None),
        replacing=tuple(key for key, old in found if old is not None and old.key_id != key.key_id),
        changing=tuple(key for key, old in same if old.generation != key.generation),
        ending=tuple(key for place, key in present.keys.items() if place not in restored),
        fates=fates(
            contents.keys,
            None if root is None else root.root_id,
            None if instance.system else os.geteuid(),
            () if enrolment is None else [one.root_id for one in enrolment.roots],
        ),
    )


def _stored(instance: Instance) -> Mapping[Place, HeldKey]:
    instance.store.stat()
    with (
        acting_as_owner(instance.store.parent),
        tempfile.TemporaryDirectory(prefix="keyiso-restore-") as directory,
    ):
        copy = Path(directory, "snapshot")
        take_snapshot(instance.store, copy)
        with opened_snapshot(copy, str(instance.store)) as connection:
            reader = KeyReader(connection, instance.store)
            return {key.place: key for key in held_keys(reader)}


def _root_step(contents: Contents, present: Present, *, replace_root: bool) -> RootStep:
    sealed = contents.manifest.root
    if sealed is None:
        return RootStep.NONE if present.root is None else RootStep.KEEP
    if present.root is None and present.root_trouble is None:
        return RootStep.INSTALL
    if present.root is not None and present.root.root_id == sealed.root_id:
        return RootStep.SAME
    if replace_root:
        return RootStep.REPLACE
    raise ncrypt_error(
        Status.KEYISO_E_ROOT_MISSING,
        "the backup's keys are sealed by its own machine root, and another one is here",
        "Use --replace-root to put the backup's in its place: it is kept aside, and keys that are"
        " sealed by it do not open any more.",
    )
