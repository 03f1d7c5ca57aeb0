"""What a machine is found to give, and who is found to be looking on."""

import os
import subprocess
import sys

import pytest

from keyiso.trustlet.arming.probes import probe_machine
from keyiso.trustlet.arming.shields import ARMED, Answer
from keyiso.trustlet.arming.suspicion import tracing_programs
from tests.attack.kernel_tracing import attached_program
from tests.attack.subjects import Subjects

PROBE = """
from keyiso.trustlet.arming.probes import probe_machine
print(*probe_machine(), sep="\\n")
"""


def test_a_machine_that_can_arm_has_every_shield() -> None:
    findings = {finding.shield: finding for finding in probe_machine()}

    assert [findings[name].answer for name in ARMED] == [Answer.YES] * len(ARMED)


def test_a_probe_leaves_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    probe_machine()

    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_without_enough_locked_memory_nothing_is_certain() -> None:
    done = subprocess.run(
        [
            *("prlimit", "--memlock=1048576:1048576"),
            *("setpriv", "--inh-caps=-ipc_lock", "--bounding-set=-ipc_lock,-sys_resource"),
            *(sys.executable, "-I", "-c", PROBE),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()

    for name in ARMED:
        (line,) = [line for line in lines if line.startswith(f"{name}: ")]
        assert line.startswith(f"{name}: unknown (")
        assert "RLIMIT_MEMLOCK is 1 MiB" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root loads BPF programs")
def test_a_program_that_traces_is_seen(subjects: Subjects) -> None:
    subject = subjects.get("bare")
    before = tracing_programs()
    assert before is not None
    with attached_program(subject.worker, 0x1000, 16):
        during = tracing_programs()
    assert during is not None

    (program,) = set(during) - set(before)
    assert program.startswith("raw_tracepoint ")
