"""What ``keyiso doctor`` says of a TPM, and that asking leaves it as it was."""

from pathlib import Path

from keyiso.clock import SystemClock
from keyiso.doctor.finding import Finding
from keyiso.doctor.machine_root import machine_root, tpm_address
from keyiso.doctor.tpm import tpm_findings
from keyiso.doctor.tree import Tree
from keyiso.paths import Instance
from keyiso.tpm.enrolment import encode_enrolment
from keyiso.tpm.latch import LATCH_PCR, extend_latch
from keyiso.tpm.srk import enrol_srk
from keyiso.trustlet.arming.shields import Answer
from keyiso.wire.results import Isolation
from tests.tpm.swtpm import Swtpm
from tests.tpm.test_enrolment import enrolled

INDEX = "0x01800000"


def findings_of(swtpm: Swtpm) -> dict[str, Finding]:
    found = tpm_findings(Tree(), f"unix:{swtpm.socket}", SystemClock())
    return {finding.name: finding for finding in found}


def states_of(swtpm: Swtpm) -> dict[str, str]:
    return {name: finding.state.value for name, finding in findings_of(swtpm).items()}


GOOD = {
    "tpm": "yes",
    "tpm-2.0": "yes",
    "tpm-sha256": "yes",
    "tpm-owner-free": "yes",
    "tpm-not-locked": "yes",
    "latched": "no",
}
"""A TPM of which nobody has made anything."""


def test_a_new_tpm_has_all_that_it_takes(swtpm: Swtpm) -> None:
    before = swtpm.tool("tpm2_pcrread", "sha256")

    assert states_of(swtpm) == GOOD
    assert findings_of(swtpm)["tpm-2.0"].evidence.endswith("of family 2.0, made by IBM")
    assert swtpm.tool("tpm2_pcrread", "sha256") == before


def test_a_password_of_the_owner_is_seen(swtpm: Swtpm) -> None:
    swtpm.tool("tpm2_changeauth", "-c", "owner", "password")

    assert states_of(swtpm) == {**GOOD, "tpm-owner-free": "no"}


def test_a_bank_that_is_off_is_seen(swtpm: Swtpm) -> None:
    swtpm.tool("tpm2_pcrallocate", "-P", "", "sha1:all+sha256:none")
    swtpm.reboot()

    assert states_of(swtpm) == {**GOOD, "tpm-sha256": "no", "latched": "unknown"}


def test_a_lock_is_seen_with_the_time_that_it_takes(swtpm: Swtpm) -> None:
    swtpm.tool(
        *("tpm2_nvdefine", INDEX, "-C", "o", "-s", "8", "-p", "right"),
        *("-a", "authread|authwrite"),
    )
    for _ in range(3):
        swtpm.tool("tpm2_nvread", INDEX, "-P", "wrong", fails=True)
    found = findings_of(swtpm)

    assert states_of(swtpm) == {**GOOD, "tpm-not-locked": "no"}
    assert "1000 s" in found["tpm-not-locked"].remedy


def test_the_latch_is_seen_until_the_next_boot(swtpm: Swtpm) -> None:
    with swtpm.opened() as tpm:
        extend_latch(tpm, enrol_srk(tpm))
    assert states_of(swtpm) == {**GOOD, "latched": "yes"}

    swtpm.tool("tpm2_pcrextend", f"{LATCH_PCR}:sha256={'11' * 32}")
    assert states_of(swtpm) == {**GOOD, "latched": "unknown"}

    swtpm.reboot()
    assert states_of(swtpm) == GOOD


def test_the_machine_root_is_looked_for_where_it_was_enrolled(swtpm: Swtpm, tmp_path: Path) -> None:
    here = Instance(False, tmp_path / "home", tmp_path / "home", ())
    enrolment = enrolled(swtpm, bytes(32))
    here.vbs_enrolment.parent.mkdir(parents=True)
    here.vbs_enrolment.write_bytes(encode_enrolment(enrolment))

    assert tpm_address(here) == f"unix:{swtpm.socket}"
    assert machine_root(here, None, SystemClock()).state is Answer.YES

    later = machine_root(here, Isolation("armed"), SystemClock())
    assert (later.state, "keyiso stop" in later.remedy) == (Answer.NO, True)


def test_a_latched_tpm_does_not_say_who_has_the_root(swtpm: Swtpm, tmp_path: Path) -> None:
    here = Instance(False, tmp_path / "home", tmp_path / "home", ())
    enrolment = enrolled(swtpm, bytes(32))
    here.vbs_enrolment.parent.mkdir(parents=True)
    here.vbs_enrolment.write_bytes(encode_enrolment(enrolment))
    with swtpm.opened() as tpm:
        extend_latch(tpm, enrolment.newest.sealed_root.srk)
    assert machine_root(here, None, SystemClock()).state is Answer.UNKNOWN

    swtpm.tool("tpm2_clear", "-c", "p")
    changed = machine_root(here, None, SystemClock())
    assert changed.state is Answer.NO
    assert changed.remedy


def test_no_device_is_no_and_one_that_does_not_answer_is_unknown(tmp_path: Path) -> None:
    (one,) = tpm_findings(Tree(tmp_path), str(tmp_path / "tpmrm0"), SystemClock())
    assert (one.name, one.state) == ("tpm", Answer.NO)
    assert "/dev/tpm0" not in one.evidence
    assert "firmware" in one.remedy

    (tmp_path / "directory").mkdir()
    (one,) = tpm_findings(Tree(tmp_path), str(tmp_path / "directory"), SystemClock())
    assert one.state is Answer.UNKNOWN


def test_an_old_tpm_is_told_from_none(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "tpm0").touch()
    (one,) = tpm_findings(Tree(tmp_path), str(tmp_path / "tpmrm0"), SystemClock())

    assert one.state is Answer.NO
    assert "TPM 1.2" in one.evidence


def test_an_answer_that_is_none_is_unknown(tmp_path: Path) -> None:
    """A file takes what is written and has nothing to say."""
    (tmp_path / "tpmrm0").touch()
    found = tpm_findings(Tree(tmp_path), str(tmp_path / "tpmrm0"), SystemClock())

    assert {finding.state for finding in found[1:]} == {Answer.UNKNOWN}
