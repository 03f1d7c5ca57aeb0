"""A machine whose TPM keeps the PINs, and which has services and an event log."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from keyiso.crypto.container_secret import container_of
from keyiso.paths import Instance
from keyiso.tpm.constants import TPM_RH
from keyiso.tpm.enrolment import EnrolledRoot, Enrolment, encode_enrolment
from keyiso.tpm.latch import LATCH_PCR, pcr_state
from keyiso.tpm.pcr import RESET_VALUE
from keyiso.tpm.pin_sealed import decode_pin_sealed
from keyiso.tpm.policy import Policy
from keyiso.tpm.sealed_object import SealedObject
from keyiso.tpm.sealed_root import SealedRoot
from keyiso.tpm.srk import enrol_srk
from keyiso.tpm.templates import sealed_template
from keyiso.trustlet.passport.container_record import (
    ContainerFiles,
    ContainerRecord,
    container_files,
)
from keyiso.trustlet.roots import machine_root
from tests.event_log import EventInstance
from tests.instance import in_use
from tests.journal import JournalSocket
from tests.tpm.swtpm import Swtpm


@pytest.fixture
def enrolled_machine(swtpm: Swtpm, tmp_path: Path) -> Iterator[EventInstance]:
    """A running instance that this process and its children use."""
    with closing(JournalSocket(tmp_path / "journal")) as journal:
        running = EventInstance(tmp_path / "home", journal)
        enrolment = running.instance.vbs_enrolment
        enrolment.parent.mkdir(parents=True, mode=0o700)
        enrolment.write_bytes(enrolment_with(swtpm))
        with in_use(running):
            yield running


def enrolment_with(swtpm: Swtpm) -> bytes:
    """Its machine root was sealed by nobody: only which TPM it is matters to PINs."""
    pcrs = pcr_state({LATCH_PCR: RESET_VALUE})
    public = sealed_template(Policy().pcr(pcrs.by_pcr).digest)
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    sealed = SealedRoot(1, TPM_RH.OWNER, srk, pcrs, SealedObject(b"p" * 200, public)).encode()
    root = EnrolledRoot(b"r" * 16, sealed)
    return encode_enrolment(Enrolment(f"unix:{swtpm.socket}", "any-start", (root,)))


def files_of(instance: Instance, owner: int) -> ContainerFiles:
    """A user's container, as who has the root's file can read and write it."""
    root = machine_root(instance.software_machine_root, may_create=False)
    assert root is not None
    return container_files(instance.containers / str(owner), [root], container_of(owner))


def record_of(instance: Instance, owner: int) -> ContainerRecord:
    record = files_of(instance, owner).record.read()
    assert record is not None
    return record


def index_of(instance: Instance, owner: int) -> str:
    """The PIN index of a user's container, as tpm2-tools take it."""
    protector = record_of(instance, owner).tpm
    assert protector is not None
    return hex(decode_pin_sealed(protector.under_pin).index.handle)
