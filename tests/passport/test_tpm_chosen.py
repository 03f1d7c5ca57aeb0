"""Which protector a container gets: that of the TPM with which the machine is enrolled, if the
worker can reach it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.client.binding import bind_process
from keyiso.client.passport import (
    create_passport_key,
    enrol_pin,
    get_container,
    sign_with_pin,
    try_pin,
)
from keyiso.crypto.signatures import NO_PADDING
from keyiso.status import Status
from keyiso.tpm.constants import TPM_RH
from keyiso.tpm.enrolment import EnrolledRoot, Enrolment, encode_enrolment
from keyiso.tpm.latch import LATCH_PCR, pcr_state
from keyiso.tpm.pcr import RESET_VALUE
from keyiso.tpm.policy import Policy
from keyiso.tpm.sealed_object import SealedObject
from keyiso.tpm.sealed_root import SealedRoot
from keyiso.tpm.srk import enrol_srk
from keyiso.tpm.templates import sealed_template
from keyiso.wire.passport import ContainerState, GetContainer, Ticket
from tests.conformance.raw_client import RawClient
from tests.conformance.statuses import fails
from tests.instance import RunningInstance, in_use
from tests.passport.conftest import NEW, RIGHT, WRONG, pin
from tests.passport.killer import kills
from tests.passport.link import GENERATOR, Prompt, at_the_worker, status_in
from tests.tpm.conftest import swtpm
from tests.tpm.swtpm import Swtpm

__all__ = ["swtpm"]


@pytest.fixture
def enrolled_machine(swtpm: Swtpm, tmp_path: Path) -> Iterator[RunningInstance]:
    """Its machine root was sealed by nobody: only which TPM it is matters here."""
    pcrs = pcr_state({LATCH_PCR: RESET_VALUE})
    public = sealed_template(Policy().pcr(pcrs.by_pcr).digest)
    with swtpm.opened() as tpm:
        srk = enrol_srk(tpm)
    sealed = SealedRoot(1, TPM_RH.OWNER, srk, pcrs, SealedObject(b"p" * 200, public)).encode()
    root = EnrolledRoot(b"r" * 16, sealed)
    enrolment = Enrolment(f"unix:{swtpm.socket}", "any-start", (root,))
    running = RunningInstance(tmp_path / "home")
    file = tmp_path / "home/state/vbs-trustlet/enrolment"
    file.parent.mkdir(parents=True, mode=0o700)
    file.write_bytes(encode_enrolment(enrolment))
    with in_use(running):
        yield running


@pytest.fixture
def worker(enrolled_machine: RunningInstance) -> Iterator[RawClient]:
    with at_the_worker(enrolled_machine.instance) as client:
        yield client


def test_a_machine_that_is_enrolled_has_its_tpm_keep_pins(worker: RawClient) -> None:
    prompt = Prompt(worker, 1000)
    state = prompt.enrol()

    assert (state.protector, state.not_stopped) == ("tpm", ())
    assert status_in(prompt.attempt(WRONG)) == Status.NTE_INCORRECT_PASSWORD
    assert worker.call(GetContainer(1000)).attempts_left == 4
    assert prompt.attempt(RIGHT) == Ticket(b"")
    assert isinstance(prompt.change(RIGHT, NEW), ContainerState)
    assert prompt.attempt(NEW) == Ticket(b"")


def test_without_the_tpm_its_containers_are_closed_and_new_ones_say_what_they_have(
    worker: RawClient, swtpm: Swtpm
) -> None:
    of_the_tpm, later = Prompt(worker, 1000), Prompt(worker, 1001)
    of_the_tpm.enrol()
    swtpm.power_off()

    assert status_in(of_the_tpm.attempt(RIGHT)) == Status.NTE_DEVICE_NOT_FOUND
    assert status_in(of_the_tpm.reset(NEW)) == Status.NTE_DEVICE_NOT_FOUND
    assert later.enrol().protector == "software"
    swtpm.boot()
    assert of_the_tpm.attempt(RIGHT) == Ticket(b"")


def test_a_container_of_a_file_goes_to_the_tpm_when_its_pin_is_changed(
    worker: RawClient, swtpm: Swtpm
) -> None:
    prompt = Prompt(worker, 1000)
    swtpm.power_off()
    assert prompt.enrol().protector == "software"
    swtpm.boot()

    assert prompt.attempt(RIGHT) == Ticket(b"")
    assert prompt.change(RIGHT, NEW).protector == "tpm"
    assert prompt.attempt(NEW) == Ticket(b"")


@pytest.mark.parametrize("victim", ["keyiso", GENERATOR])
def test_the_tpm_counts_an_attempt_once_wherever_a_service_is_killed(
    enrolled_machine: RunningInstance, victim: str
) -> None:
    binding = bind_process(os.environ, service="passport")
    assert enrol_pin(binding, pin(RIGHT)).protector == "tpm"
    key = create_passport_key(binding, pin(RIGHT), "logon")
    for killed, _ in kills(enrolled_machine, binding, victim):
        with fails(Status.NTE_INCORRECT_PASSWORD):
            try_pin(killed, pin(WRONG))
        assert get_container(binding).attempts_left == 4
        assert sign_with_pin(binding, pin(RIGHT), key, b"d" * 32, NO_PADDING)
        assert get_container(binding).attempts_left == 5
