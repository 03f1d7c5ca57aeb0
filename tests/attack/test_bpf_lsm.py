"""The shield in the kernel, and what nothing else stops: root's programs in the kernel."""

import ctypes
import os

import pytest

from keyiso.trustlet.arming.bpf_lsm import BpfLsmShield, probe_bpf_lsm
from keyiso.trustlet.arming.shields import Answer
from tests.attack.conftest import StartSubject
from tests.attack.kernel_tracing import attached_program, bpf_probe_read, open_uprobe
from tests.attack.reading import regions

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root loads BPF programs")


@pytest.fixture(autouse=True)
def lsm() -> None:
    finding = probe_bpf_lsm()
    if finding.answer is not Answer.YES:
        pytest.skip(str(finding))


def test_the_shield_stops_programs_that_read_an_armed_worker(start_subject: StartSubject) -> None:
    subject = start_subject("armed")
    before = bpf_probe_read(subject)
    assert before.succeeded, before.detail
    somewhere = regions(subject.worker)[0].start
    with BpfLsmShield(subject.processes):
        with (
            pytest.raises(pytest.skip.Exception, match="is refused here: bpf: Operation not"),
            attached_program(subject.worker, somewhere, 16),
        ):
            pass
        with pytest.raises(PermissionError):
            regions(subject.worker)
        with pytest.raises(PermissionError):
            open_uprobe(subject.worker, ctypes.CDLL(None).send)
        subject.use_keys()
    after = bpf_probe_read(subject)

    assert after.succeeded, "the shield is down, and it must be seen to have made the difference"


def test_the_shield_keeps_tracers_from_a_bare_worker(start_subject: StartSubject) -> None:
    shielded, other = start_subject("bare"), start_subject("bare")
    with BpfLsmShield([shielded.worker]):
        with pytest.raises(PermissionError):
            open(f"/proc/{shielded.worker}/mem", "rb").close()
        open(f"/proc/{other.worker}/mem", "rb").close()
        shielded.use_keys()
    open(f"/proc/{shielded.worker}/mem", "rb").close()
