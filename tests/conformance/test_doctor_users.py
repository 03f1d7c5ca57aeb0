"""``keyiso doctor`` for a user who is not root: alone, and where the system's keyiso runs.

Needs root, which starts the services as different users and clients as others.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso.trustlet.arming.probes import probe_machine
from keyiso.trustlet.arming.shields import ARMED, missing
from tests.conformance.world import ALICE, SystemInstance, World

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")

EXAMINE = """
import resource
from keyiso.doctor.examination import examine
from keyiso.doctor.tree import Tree

resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))
found = examine(Tree(), os.environ, start=False)
every = [*found.verdicts, *(one for part in found.parts for one in part.findings)]
tell({one.name: (one.state.value, one.evidence, one.remedy) for one in every})
"""


@pytest.fixture
def system(request: pytest.FixtureRequest, python: Path, homes: Path) -> Iterator[SystemInstance]:
    """With the options of the test's own."""
    running = SystemInstance(homes / str(len(request.param)), python, request.param)
    running.start()
    runtime = running.instance.runtime
    try:
        yield running
    finally:
        running.end()
        shutil.rmtree(runtime)


def states(found: dict[str, list[Any]], *names: str) -> list[str]:
    return [found[name][0] for name in names]


def test_a_user_alone_is_told_what_only_root_can_try(python: Path, homes: Path) -> None:
    home = homes / "nobody"
    found = World(python, home).run(ALICE, EXAMINE)

    assert states(found, "running", "sign-software", "sign-vbs") == ["no", "unknown", "unknown"]
    for name in ("bpf-lsm", "no-tracing-programs"):
        state, _, remedy = found[name]
        assert (state, remedy) != ("unknown", "") and state != "yes"
    assert not home.exists()


def test_too_little_locked_memory_is_named_and_nothing_is_armed(python: Path, homes: Path) -> None:
    found = World(python, homes / "nobody").run(ALICE, EXAMINE)

    state, evidence, remedy = found["locked-memory"]
    assert found["ephemeral"][2] == remedy
    assert state == "no"
    assert "1 MiB" in evidence
    assert "LimitMEMLOCK" in remedy
    for name in ARMED:
        state, evidence, _ = found[name]
        assert state == "unknown"
        assert "locked-memory" in evidence
    assert states(found, "ephemeral", "per-boot", "persisted") == ["no"] * 3
    assert "locked-memory" in found["ephemeral"][1]


@pytest.mark.parametrize("system", [("--workers=1",)], indirect=True)
def test_where_the_systems_keyiso_runs_it_is_asked(python: Path, system: SystemInstance) -> None:
    found = World(python, system.home).run(ALICE, EXAMINE)

    assert states(found, "running", "complete", "separate-users") == ["yes"] * 3
    assert states(found, "sign-software") == ["yes"]
    assert found["sign-vbs"][0] == found["vbs-workers"][0] == found["ephemeral"][0]
    if found["locked-memory"][0] == "no":
        for name in ("sign-vbs", "vbs-workers"):
            assert "RLIMIT_MEMLOCK" in found[name][1]
            assert found[name][2]


@pytest.mark.parametrize("system", [("--workers=1", "--trustlet-user=root")], indirect=True)
def test_the_limits_of_the_workers_count_and_their_word(
    python: Path, system: SystemInstance
) -> None:
    """This user may lock nearly nothing. The workers, who have rights of their own, can."""
    if lacking := missing(probe_machine()):
        pytest.skip(f"this machine arms nothing: {lacking[0]}")
    found = World(python, system.home).run(ALICE, EXAMINE)

    assert states(found, "separate-users") == ["no"]
    assert states(found, "vbs-workers", "boot-root", "locked-memory", "sign-vbs") == ["yes"] * 4
    for name in ARMED:
        state, evidence, _ = found[name]
        assert state == "yes"
        assert "armed worker that serves" in evidence
    assert states(found, "ephemeral", "per-boot", "persisted") == ["yes", "yes", "no"]
    assert "keyiso tpm enroll" in found["machine-root"][2]
