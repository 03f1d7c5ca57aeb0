"""``keyiso doctor`` on this machine: it says what is so, and changes nothing."""

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keyiso.cli._exit import ExitCode
from keyiso.doctor.instance import COMPLETE, SEPARATE_USERS
from keyiso.doctor.isolation import ARMED as ARMED_WORKERS
from keyiso.doctor.isolation import BOOT_ROOT
from keyiso.doctor.tpm import LATCHED, NOT_LOCKED, OWNER, SHA256_BANK, VERSION
from keyiso.paths import client_instance
from keyiso.trustlet.arming.probes import probe_machine
from keyiso.trustlet.arming.shields import ARMED, missing
from tests.cli.command import Ended, keyiso
from tests.instance import RunningInstance

MANUAL = Path(__file__).parents[2] / "docs" / "doctor.md"
PARTS = (
    "keyiso",
    "What keys that require vbs need",
    "What persisted ones need besides",
    "What else root, and others, could do",
)
"""The headings, in order."""


def by_name(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    names = [one["name"] for one in report["findings"]]
    assert len(names) == len(set(names))
    return {one["name"]: one for one in report["findings"]}


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which no keyiso runs."""
    return tmp_path_factory.mktemp("nowhere") / "home"


@pytest.fixture(scope="module")
def without_keyiso(nowhere: Path) -> Ended:
    return keyiso("doctor", "--json", environ={**os.environ, "KEYISO_HOME": str(nowhere)})


def test_it_works_where_keyiso_does_not_run_and_starts_nothing(
    nowhere: Path, without_keyiso: Ended
) -> None:
    assert without_keyiso.errors == ""
    found = by_name(without_keyiso.json)
    assert found["running"]["state"] == "no"
    for trial in ("sign-software", "sign-vbs"):
        assert found[trial]["state"] == "unknown"
        assert "keyiso doctor --start" in found[trial]["remedy"]
    assert not nowhere.exists()
    assert not client_instance({"KEYISO_HOME": str(nowhere)}).runtime.exists()


def test_what_it_says_of_arming_is_what_the_probes_say(without_keyiso: Ended) -> None:
    report = without_keyiso.json
    found = by_name(report)
    armed = not missing(probe_machine())
    assert all(found[name]["state"] == ("yes" if armed else "unknown") for name in ARMED)
    verdicts = {one["name"]: one["state"] for one in report["require_vbs"]}
    assert list(verdicts) == ["ephemeral", "per-boot", "persisted"]
    assert (verdicts["ephemeral"] == "yes", verdicts["per-boot"] == "yes") == (armed, armed)
    assert report["can_require_vbs"] is armed
    assert without_keyiso.code == (ExitCode.SUCCESS if armed else ExitCode.NO_PROTECTION)


def test_every_finding_says_all_that_it_should(without_keyiso: Ended) -> None:
    report = without_keyiso.json
    for one in (*report["findings"], *report["require_vbs"]):
        assert set(one) == {"name", "state", "evidence", "consequence", "remedy"}
        assert one["state"] in ("yes", "no", "unknown")
        assert one["evidence"]
        assert one["consequence"]
        assert one["state"] != "yes" or not one["remedy"]
    for level in report["levels"]:
        assert level["stops"] and level["not_stopped"]


def test_the_manual_names_every_finding(without_keyiso: Ended) -> None:
    manual = MANUAL.read_text(encoding="utf-8")
    others = (ARMED_WORKERS, BOOT_ROOT, VERSION, SHA256_BANK, OWNER, NOT_LOCKED, LATCHED)
    elsewhere = {question.name for question in (*others, COMPLETE, SEPARATE_USERS)}
    for name in by_name(without_keyiso.json).keys() | elsewhere:
        assert f"\n| `{name}` | " in manual, name


def test_what_is_not_mounted_here_is_unknown(without_keyiso: Ended) -> None:
    if Path("/sys/kernel/security/lsm").exists():
        pytest.skip("securityfs is mounted here")
    assert by_name(without_keyiso.json)["lockdown"]["state"] == "unknown"


def test_for_people(nowhere: Path, without_keyiso: Ended) -> None:
    ended = keyiso("doctor", environ={**os.environ, "KEYISO_HOME": str(nowhere)})
    assert (ended.code, ended.errors) == (without_keyiso.code, "")
    assert ended.text.startswith("Keys that require vbs\n")
    lines = ended.text.splitlines()
    assert [line for line in lines if line in PARTS] == list(PARTS)
    for one in without_keyiso.json["findings"]:
        assert any(line.startswith(one["state"]) and one["name"] in line for line in lines)
        if one["state"] != "yes":
            assert one["consequence"] in ended.text
            assert one["remedy"] in ended.text


def test_with_a_keyiso_that_runs_a_key_of_each_level_signs(instance: RunningInstance) -> None:
    before = instance.pids()
    ended = keyiso("doctor", "--json")
    found = by_name(ended.json)
    assert (found["running"]["state"], found["complete"]["state"]) == ("yes", "yes")
    assert str(instance.instance.runtime) in found["running"]["evidence"]
    assert found["sign-software"]["state"] == "yes"
    assert found["sign-vbs"]["state"] == found["vbs-workers"]["state"]
    assert found["sign-vbs"]["state"] == ("yes" if not missing(probe_machine()) else "no")
    assert found["separate-users"]["state"] == "no"
    assert ended.json["require_vbs"][0]["state"] == found["sign-vbs"]["state"]
    assert instance.pids().items() >= before.items()
    assert keyiso("key", "list", "--json").json["keys"] == []


def test_what_is_asked_for_is_started(instance: RunningInstance) -> None:
    instance.kill_everything()
    assert by_name(keyiso("doctor", "--json").json)["running"]["state"] == "no"
    ended = keyiso("doctor", "--json", "--start")
    found = by_name(ended.json)
    assert (found["running"]["state"], found["sign-software"]["state"]) == ("yes", "yes")
    assert instance.pid_of("supervisor")


def test_a_service_that_does_not_answer_is_reported(instance: RunningInstance) -> None:
    pid = instance.pid_of("keyiso")
    os.kill(pid, signal.SIGSTOP)
    try:
        found = by_name(keyiso("doctor", "--json").json)
    finally:
        with contextlib.suppress(ProcessLookupError):  # the watchdog may have replaced it
            os.kill(pid, signal.SIGCONT)
    assert found["running"]["state"] == "no"
    assert found["complete"]["state"] == "yes"
    assert found["sign-software"]["state"] == "unknown"
