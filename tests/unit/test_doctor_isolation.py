"""What ``keyiso doctor`` makes of the word of armed workers."""

import os
from pathlib import Path

import pytest

from keyiso.clock import SystemClock
from keyiso.doctor.arming import probed_shields, told_shields
from keyiso.doctor.finding import Finding
from keyiso.doctor.isolation import isolation_findings
from keyiso.doctor.machine_root import machine_root, tpm_address
from keyiso.doctor.memory import SECRET_MEMORY
from keyiso.doctor.tpm import LATCHED, TPM
from keyiso.doctor.trial import SIGN_VBS
from keyiso.doctor.verdict import verdicts_from
from keyiso.paths import Instance
from keyiso.trustlet.arming import shields
from keyiso.trustlet.arming.shields import ARMED
from keyiso.wire.results import Isolation, ShieldFinding

SERVING = Isolation(
    "armed",
    findings=tuple(ShieldFinding(name, "yes", "tried") for name in ARMED),
    boot_root="present",
)
STARTING = Isolation("starting", "they start")
UNAVAILABLE = Isolation("unavailable", "no secret memory", "Boot another kernel.")


def instance(home: Path) -> Instance:
    return Instance(False, home, home, ())


def said(finding: Finding) -> tuple[str, str, str]:
    return finding.state.value, finding.evidence, finding.remedy


def test_workers_that_serve() -> None:
    workers, root = isolation_findings(SERVING)

    assert workers.state.value == "yes"
    assert all(f"{name} yes" in workers.evidence for name in ARMED)
    assert root.state.value == "yes"


def test_workers_that_cannot_be_armed_say_what_is_missing() -> None:
    workers, root = isolation_findings(UNAVAILABLE)

    assert said(workers) == ("no", "no secret memory", "Boot another kernel.")
    assert root.state.value == "unknown"


def test_workers_that_start_are_not_known_yet() -> None:
    assert {one.state.value for one in isolation_findings(STARTING)} == {"unknown"}


def test_workers_without_a_root_of_this_boot() -> None:
    _, absent = isolation_findings(Isolation("armed"))
    _, degraded = isolation_findings(
        Isolation("armed", boot_root="degraded", root_cause="it is gone", root_action="Restart.")
    )

    assert absent.state.value == "no"
    assert said(degraded) == ("no", "it is gone", "Restart.")


@pytest.mark.parametrize("isolation", [None, STARTING, UNAVAILABLE, SERVING])
def test_what_was_not_enrolled_is_not_there(isolation: Isolation | None, tmp_path: Path) -> None:
    found = machine_root(instance(tmp_path), isolation, SystemClock())

    assert found.state.value == "no"
    if isolation is not SERVING:
        assert str(instance(tmp_path).vbs_enrolment) in found.evidence
    assert "keyiso tpm enroll" in found.remedy


def test_workers_know_whether_they_have_the_machine_root(tmp_path: Path) -> None:
    present = Isolation("armed", machine_root="present")
    degraded = Isolation(
        "armed", machine_root="degraded", root_cause="cleared", root_action="Heal."
    )

    found = machine_root(instance(tmp_path), present, SystemClock())
    assert found.state.value == "yes"
    found = machine_root(instance(tmp_path), degraded, SystemClock())
    assert said(found) == ("no", "cleared", "Heal.")


def test_a_damaged_enrolment_is_no_root(tmp_path: Path) -> None:
    path = instance(tmp_path).vbs_enrolment
    path.parent.mkdir()
    path.write_bytes(b"\1nonsense")

    found = machine_root(instance(tmp_path), None, SystemClock())
    assert found.state.value == "no"
    assert "cannot be read" in found.evidence
    assert tpm_address(instance(tmp_path)) == "/dev/tpmrm0"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look everywhere")
def test_who_may_not_look_does_not_know(tmp_path: Path) -> None:
    path = instance(tmp_path).vbs_enrolment
    path.parent.mkdir(mode=0)

    assert machine_root(instance(tmp_path), None, SystemClock()).state.value == "unknown"
    assert tpm_address(instance(tmp_path)) == "/dev/tpmrm0"


def test_what_could_not_be_tried_is_taken_from_the_workers() -> None:
    def refuse() -> tuple[()]:
        raise PermissionError(1, "no")

    told = told_shields(probed_shields(refuse), SERVING.findings[1:])

    assert [one.state.value for one in told] == ["unknown", *["yes"] * (len(ARMED) - 1)]
    assert told[1].evidence == "an armed worker that serves: tried"


def test_what_was_tried_is_not_taken_from_the_workers() -> None:
    found = probed_shields(lambda: [shields.no(name, "tried here") for name in ARMED])

    assert told_shields(found, SERVING.findings) == found


@pytest.mark.parametrize(
    ("signed", "needed", "isolation", "expected"),
    [
        ("unknown", "yes", None, ("yes", "yes", "no")),
        ("unknown", "unknown", None, ("unknown", "unknown", "no")),
        ("unknown", "no", None, ("no", "no", "no")),
        # Where it was tried, that counts.
        ("no", "yes", UNAVAILABLE, ("no", "no", "no")),
        ("yes", "no", SERVING, ("yes", "yes", "no")),
        ("yes", "yes", Isolation("armed"), ("yes", "no", "no")),
        (
            "yes",
            "yes",
            Isolation("armed", machine_root="present", boot_root="present"),
            ("yes", "yes", "yes"),
        ),
    ],
)
def test_what_can_be_required(
    signed: str,
    needed: str,
    isolation: Isolation | None,
    expected: tuple[str, str, str],
    tmp_path: Path,
) -> None:
    """There is no TPM here; a root that is there needs none any more."""
    found = verdicts_from(
        [getattr(SIGN_VBS, signed)("tried")],
        [getattr(SECRET_MEMORY, needed)("tried")],
        isolation_findings(isolation) if isolation else (),
        [
            TPM.no("none"),
            LATCHED.no("open"),
            machine_root(instance(tmp_path), isolation, SystemClock()),
        ],
    )

    assert tuple(one.state.value for one in found) == expected


def test_an_open_latch_keeps_no_key_from_being_stored(tmp_path: Path) -> None:
    found = verdicts_from(
        [SIGN_VBS.yes("tried")],
        [],
        isolation_findings(SERVING),
        [
            TPM.yes("there"),
            LATCHED.no("open"),
            machine_root(
                instance(tmp_path), Isolation("armed", machine_root="present"), SystemClock()
            ),
        ],
    )

    assert found[2].state.value == "yes"
