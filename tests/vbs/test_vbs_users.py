"""``vbs`` in a system instance: pairs of another user than root and the KeyIso service."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.supervisor.capability import CAP_IPC_LOCK
from keyiso.trustlet.arming.process import status_of, tracer_of
from keyiso.wire.messages import Refusal
from tests.conformance.conftest import homes, python
from tests.conformance.raw_client import RawClient
from tests.conformance.world import ALICE, BOB, TRUSTLET, SystemInstance, World, uid_of
from tests.instance import in_use

__all__ = ["homes", "python"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")

CREATE = """
from keyiso import Protection
with Key.create("mine", "ECDSA_P256", protection=Protection.REQUIRE_VBS, per_boot=True) as key:
    key.verify(key.sign(b"data"), b"data")
    tell(key.protection.level)
"""

OPEN = """
def open_it():
    with Key.open("mine") as key:
        key.verify(key.sign(b"data"), b"data")
        return key.protection.level

tell(outcome(open_it))
"""


@pytest.fixture(scope="module")
def system(armed_machine: None, python: Path, homes: Path) -> Iterator[SystemInstance]:
    with in_use(SystemInstance(homes / "system", python)) as running:
        yield running


@pytest.fixture(scope="module")
def world(python: Path, system: SystemInstance) -> World:
    return World(python, system.home)


def test_users_have_vbs_keys_of_their_own(world: World) -> None:
    assert world.run(ALICE, CREATE) == "vbs"
    assert world.run(ALICE, OPEN) == "vbs"
    assert world.run(BOB, OPEN) == "NTE_BAD_KEYSET"


def test_a_pair_belongs_to_the_trustlets_user_and_guards_itself(
    world: World, system: SystemInstance
) -> None:
    world.run(BOB, CREATE)
    pairs = [one for one in system.status().processes if one.worker_pid]
    assert pairs
    for pair in pairs:
        for pid in (pair.pid, pair.worker_pid):
            assert int(status_of(pid, "Uid").split()[0]) == uid_of(TRUSTLET)
            # Where root may not lift the limit of locked memory, the right to ignore it is left.
            assert int(status_of(pid, "CapEff"), 16) in (0, 1 << CAP_IPC_LOCK)
            assert tracer_of(pid) != 0
            assert status_of(pid, "NoNewPrivs") == "1"


def test_roots_are_given_to_nobody_of_another_uid(world: World, system: SystemInstance) -> None:
    """Root may become that user; what it gets is then sealed to a key of its own making. The
    directory keeps others out before that.
    """
    world.run(ALICE, OPEN)
    meeting = system.instance.vbs_runtime
    assert (meeting.stat().st_uid, meeting.stat().st_mode & 0o777) == (uid_of(TRUSTLET), 0o700)
    for path in meeting.glob("*.sock"):
        with RawClient.at(path) as client:
            refused = client.receive()
            assert isinstance(refused, Refusal)
            assert "no worker of this instance" in refused.cause
