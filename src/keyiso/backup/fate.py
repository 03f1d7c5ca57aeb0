"""What becomes of a backup's keys when they are in place."""

import enum
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from keyiso.backup.holdings import HeldKey
from keyiso.store.schema import MACHINE


class Fate(enum.Enum):
    """Of one key. The words are for people."""

    OPENS = "Open"
    ROOT_MISSING = "Do not open, as the root that seals them is not here"
    NEEDS_TPM = "Open when the TPM opens their root; see `keyiso tpm status`"
    OTHER_LEVEL = "Open only where their own root is, which is neither here nor in the backup"
    PER_BOOT = "Open only in the boot that they were made in"
    OTHER_USER = "Are of another user, whom this keyiso does not serve"
    DAMAGED = "Are damaged in the backup"


def fates(
    keys: Iterable[HeldKey],
    root_id: bytes | None,
    owner: int | None,
    enrolled: Collection[bytes] = (),
) -> Mapping[Fate, tuple[HeldKey, ...]]:
    """The keys by what becomes of them, with this ``software`` machine root, or none, and those
    of ``vbs`` that are ``enrolled``.

    ``owner`` is the one user whom the instance serves, or None where it serves all.
    """
    found: defaultdict[Fate, list[HeldKey]] = defaultdict(list)
    for key in keys:
        found[_fate(key, root_id, owner, enrolled)].append(key)
    return {fate: tuple(found[fate]) for fate in Fate}


def _fate(
    key: HeldKey, root_id: bytes | None, owner: int | None, enrolled: Collection[bytes]
) -> Fate:
    if key.root is None:
        return Fate.DAMAGED
    if owner is not None and key.partition not in (owner, MACHINE):
        return Fate.OTHER_USER
    if key.root.kind == "boot":
        return Fate.PER_BOOT
    if key.root.level != "software":
        return Fate.NEEDS_TPM if key.root.root_id in enrolled else Fate.OTHER_LEVEL
    return Fate.OPENS if key.root.root_id == root_id else Fate.ROOT_MISSING
