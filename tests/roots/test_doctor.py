"""``keyiso doctor`` on a machine that is enrolled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso.router import process_router
from tests.cli.command import keyiso
from tests.instance import RunningInstance
from tests.roots.machine import EnrolledMachine
from tests.waiting import wait_until


@pytest.fixture
def running(machine: EnrolledMachine, tmp_path: Path) -> Iterator[RunningInstance]:
    """An instance of the machine, which the test starts and this ends."""
    process_router.cache_clear()
    instance = RunningInstance(tmp_path / "home", ("--workers=1",))
    try:
        yield instance
    finally:
        process_router.cache_clear()
        instance.end()


def examined() -> tuple[dict[str, str], list[str], dict[str, Any]]:
    """The state of every finding, the levels that keys get here, and all that was found."""
    report = keyiso("doctor", "--json").json
    every = {one["name"]: one for one in (*report["require_vbs"], *report["findings"])}
    levels = [one["name"] for one in report["levels"]]
    return {name: one["state"] for name, one in every.items()}, levels, every


def test_a_key_can_be_kept_where_a_root_is_enrolled(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    states, levels, every = examined()
    assert (states["ephemeral"], states["persisted"], levels) == ("yes", "no", ["vbs"])
    assert "keyiso tpm enroll" in every["machine-root"]["remedy"]

    machine.enrol()
    states, levels, every = examined()
    assert (states["persisted"], levels) == ("yes", ["vbs", "tpm"])
    assert machine.address in every["machine-root"]["evidence"]
    assert machine.address in every["tpm"]["evidence"]

    running.start()
    states, levels, every = examined()
    assert (states["sign-vbs"], states["persisted"]) == ("yes", "yes")
    assert every["machine-root"]["evidence"] == "the armed workers have it"
    assert (states["latched"], levels) == ("no", ["vbs", "tpm"])


def test_a_root_that_came_late_is_seen_too(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    running.start()
    states, levels, _ = examined()
    assert (states["sign-vbs"], states["persisted"], levels) == ("yes", "no", ["vbs"])

    machine.enrol()
    wait_until(lambda: examined()[0]["persisted"] == "yes", "a machine root in armed workers")


def test_a_cleared_tpm_is_no_root_and_the_rest_works(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    machine.tpm.tool("tpm2_clear", "-c", "p")
    for start in (lambda: None, running.start):
        start()
        states, levels, every = examined()
        assert (states["ephemeral"], states["per-boot"], levels) == ("yes", "yes", ["vbs"])
        assert (states["machine-root"], states["persisted"]) == ("no", "no")
        assert every["machine-root"]["remedy"]
