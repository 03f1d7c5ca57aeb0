"""What is done with keys of a level, and who is killed meanwhile."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from keyiso.crypto.key_header import Level
from tests.restart.operations import OPERATIONS
from tests.restart.victims import Victim

FORKED = "forked child"
"""The column of operations in forked children, whoever is killed."""


@dataclass(frozen=True)
class Scene:
    """Rows and columns of a matrix."""

    level: Level
    killed: Sequence[Victim]
    hung: Sequence[Victim]
    forked: Sequence[Victim]
    """Who is killed while operations are done in forked children."""
    operations: Sequence[str] = tuple(OPERATIONS)

    @property
    def columns(self) -> list[str]:
        killed, hung = ([victim.value for victim in part] for part in (self.killed, self.hung))
        return [*killed, FORKED, *hung]


# An instance has a worker for each processor.
OTHER = (Victim.OTHER,) if (os.cpu_count() or 1) > 1 else ()

SOFTWARE = Scene(
    "software",
    killed=(
        Victim.KEYISO,
        Victim.HOLDER,
        *OTHER,
        Victim.GENERATOR,
        Victim.SUPERVISOR,
        Victim.SERVICES,
        Victim.EVERYTHING,
    ),
    hung=(Victim.HUNG_KEYISO, Victim.HUNG_WORKERS),
    forked=(Victim.KEYISO, Victim.SERVICES),
)

VBS = Scene(
    "vbs",
    # Without a TPM the boot root lives in the memory of the pairs: one of them is left alive.
    killed=(
        Victim.KEYISO,
        Victim.HOLDER,
        Victim.GUARDIAN,
        *OTHER,
        Victim.GENERATOR,
        Victim.ALL_BUT_ONE,
    ),
    hung=(
        Victim.HUNG_KEYISO,
        Victim.STOPPED_WORKERS,
        Victim.STOPPED_GUARDIANS,
        Victim.STOPPED_PAIR,
    ),
    forked=(Victim.KEYISO, Victim.ALL_BUT_ONE),
)

SHORT_VBS = Scene(
    "vbs",
    killed=(Victim.KEYISO, Victim.HOLDER, Victim.GUARDIAN, Victim.ALL_BUT_ONE),
    hung=(Victim.STOPPED_WORKERS, Victim.STOPPED_GUARDIANS, Victim.STOPPED_PAIR),
    forked=(Victim.ALL_BUT_ONE,),
    operations=(
        "create ECDSA",
        "create, overwriting",
        "delete",
        "sign",
        "sign many",
        "agree and derive",
        "set property",
        "ephemeral create",
        "ephemeral use",
    ),
)
