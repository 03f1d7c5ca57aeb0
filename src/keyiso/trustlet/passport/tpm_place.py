"""A TPM and the handles in it that a container has."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyiso.clock import Clock
from keyiso.crypto.container_secret import ContainerSecret
from keyiso.crypto.pin import Pin
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.errors import NCryptError
from keyiso.status import Status
from keyiso.tpm.capabilities import handles
from keyiso.tpm.constants import TPM_HT
from keyiso.tpm.enrolment import open_tpm, read_enrolment
from keyiso.tpm.pin_index import OWNER_INDICES, remove_pin_index
from keyiso.tpm.srk import PinnedSrk
from keyiso.tpm.tpm import Tpm
from keyiso.trustlet.passport.tpm_protector import TpmProtector, make_tpm_protector

HANDLES_PER_CONTAINER: Final = 2
"""A PIN that is changed gets the other one, and then the first one is free."""


@dataclass(frozen=True, slots=True)
class TpmPlace:
    """A TPM, with the storage root key that was pinned at enrolment."""

    tpm: Tpm
    srk: PinnedSrk

    def free_handles(self, random: Callable[[int], bytes] = os.urandom) -> tuple[int, ...]:
        """Handles that nothing has, for a new container."""
        taken = set(handles(self.tpm, TPM_HT.NV_INDEX))
        found: set[int] = set()
        while len(found) < HANDLES_PER_CONTAINER:
            handle = OWNER_INDICES[int.from_bytes(random(8)) % len(OWNER_INDICES)]
            found |= {handle} - taken
        return tuple(sorted(found))

    def protect(
        self, handle: int, secret: ContainerSecret, pin: Pin, schedule: LockSchedule
    ) -> TpmProtector:
        """A protector under one of the container's handles. What is there was left behind."""
        self.clear([handle])
        return make_tpm_protector(self.tpm, self.srk, handle, secret, pin, schedule)

    def clear(self, unused: Sequence[int]) -> None:
        """Remove the container's PIN indices that are not in use."""
        for handle in set(unused) & set(handles(self.tpm, TPM_HT.NV_INDEX)):
            try:
                remove_pin_index(self.tpm, self.srk, handle)
            except NCryptError as error:
                # What is no PIN index is somebody else's: defining one there will tell.
                if error.status != Status.KEYISO_E_TPM_PIN_INDEX:
                    raise


@contextlib.contextmanager
def machines_tpm(enrolment: Path, clock: Clock) -> Iterator[TpmPlace | None]:
    """The TPM that the machine was enrolled with, while the block lasts. None where there is no
    enrolment, and where this process cannot open the TPM: a container that has its PIN there says
    so itself.
    """
    with contextlib.ExitStack() as stack:
        try:
            enrolled = read_enrolment(enrolment)
            if enrolled is None:
                place = None
            else:
                srk = enrolled.newest.sealed_root.srk
                place = TpmPlace(stack.enter_context(open_tpm(enrolled.tpm, clock)), srk)
        except (NCryptError, OSError):
            place = None
        yield place
