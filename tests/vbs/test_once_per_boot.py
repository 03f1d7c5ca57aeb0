"""The latch, and the pool of armed workers that have the roots of a boot."""

import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from keyiso import Key, Protection
from keyiso.client.binding import bind_process
from keyiso.errors import NCryptError
from keyiso.server.identity import new_identity
from keyiso.status import Status, status_name
from keyiso.trustlet.root_sharing import ask_for_roots
from keyiso.wire.results import Isolation
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.roots.machine import EnrolledMachine
from tests.roots.test_attackers import unsealed_by_tools
from tests.vbs.serving import instance_on
from tests.waiting import wait_until


@pytest.fixture
def running(machine: EnrolledMachine) -> Iterator[RunningInstance]:
    """One that tests start."""
    with instance_on(machine, "--workers=1") as running:
        yield running


POOL = ("vbs-0", "vbs-generator", "vbs-spare", "vbs-spare-generator")


def stored(name: str, *, per_boot: bool = False) -> Key:
    return Key.create(name, "ECDSA_P256", protection=Protection.REQUIRE_VBS, per_boot=per_boot)


def signs(key: Key) -> None:
    key.verify(key.sign(b"data"), b"data")


def ephemeral_signs() -> None:
    with Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as key:
        signs(key)


def isolation(running: RunningInstance) -> Isolation:
    return bind_process(running.environ).isolation()


def status_of(work: Callable[[], object]) -> str:
    with pytest.raises(NCryptError) as caught:
        work()
    return status_name(caught.value.status)


def armed_pairs(running: RunningInstance) -> set[str]:
    return {one.service for one in running.status().processes if one.worker_pid}


def wait_for_latch(machine: EnrolledMachine, running: RunningInstance) -> None:
    wait_until(lambda: armed_pairs(running) == set(POOL), "the pool")
    wait_until(lambda: is_latched(machine), "the latch")


def is_latched(machine: EnrolledMachine) -> bool:
    return str(machine.run("tpm", "status", "--json").json["state"]) == "latched"


def end_pair(running: RunningInstance, service: str) -> None:
    """Kill a pair, and wait until its place is held by something else."""
    (pair,) = (one for one in running.status().processes if one.service == service)
    os.kill(pair.worker_pid, signal.SIGKILL)
    wait_until(lambda: running.pid_of(service) not in (0, pair.pid), service)


def test_the_pool_has_the_roots_and_nobody_else_gets_them(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol("--unseal", "once-per-boot")
    running.start()
    wait_for_latch(machine, running)
    with stored("web") as key:
        signs(key)
    said = str(unsealed_by_tools(machine, "o")).upper()
    assert "0X99D" in said
    for service in POOL:
        sibling = socket.socket(socket.AF_UNIX)
        sibling.connect(str(running.instance.sharing_socket(service)))
        with fails(Status.KEYISO_E_STALE) as caught:  # a fake worker of the same user
            ask_for_roots(sibling, new_identity("vbs-0"))
        assert "have been handed out" in caught.value.cause


def test_spares_take_the_place_of_pairs_that_died_until_none_is_left(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol("--unseal", "once-per-boot")
    running.start()
    wait_for_latch(machine, running)
    with stored("web") as key:
        for service in ("vbs-0", "vbs-generator"):
            end_pair(running, service)
            signs(key)
            stored("made meanwhile").delete()
        assert armed_pairs(running) == {"vbs-spare", "vbs-spare-generator"}
        assert isolation(running).machine_root == "present"
        running.kill(*armed_pairs(running))
        assert status_of(lambda: key.sign(b"data")) == "KEYISO_E_TPM_LATCHED"
        assert status_of(lambda: stored("another")) == "KEYISO_E_TPM_LATCHED"
        ephemeral_signs()
        assert isolation(running).machine_root == "degraded"
        assert isolation(running).root_action == "Restart the machine."

        running.end()
        running.start()  # the same boot: no new code gets the roots
        assert status_of(lambda: key.sign(b"data")) == "KEYISO_E_TPM_LATCHED"
        running.end()
        machine.tpm.reboot()
        running.start()
        signs(key)


def test_a_founder_that_dies_early_is_followed_by_another_one(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    """Whenever it was: in the end the pool has the roots, or as much of it as is left, and the
    latch has fallen."""
    machine.enrol("--unseal", "once-per-boot")
    running.start()
    wait_until(lambda: bool(armed_pairs(running)), "the founder")
    running.kill(*armed_pairs(running))
    wait_until(lambda: is_latched(machine), "the latch")
    with stored("web") as key:
        signs(key)


def test_a_running_instance_is_told_to_start_again(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    running.start()
    ended = machine.run("tpm", "enroll", "--tpm", machine.address, "--unseal", "once-per-boot")
    assert "uses this when it is started again" in ended.text
    assert status_of(lambda: stored("web")) == "KEYISO_E_ROOT_MISSING"
    running.end()
    running.start()
    with stored("web") as key:
        signs(key)


# --- the boot root -----------------------------------------------------------------------------


def test_per_boot_keys_survive_all_processes_where_a_tpm_is_enrolled(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    with stored("of this boot", per_boot=True) as key:
        signs(key)
        wait_until(running.instance.vbs_boot_root.exists, "the kept boot root")
        running.kill_everything()
        running.start()
        signs(key)
        running.kill(*armed_pairs(running))
        signs(key)
    running.end()
    machine.tpm.reboot()
    running.start()
    assert status_of(lambda: Key.open("of this boot").sign(b"data")) == (
        "NTE_VBS_CANNOT_DECRYPT_KEY"
    )
    with stored("of the next boot", per_boot=True) as key:
        signs(key)


def test_a_boot_root_that_somebody_else_put_there_is_not_used(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    ephemeral_signs()
    kept = running.instance.vbs_boot_root
    wait_until(kept.exists, "the kept boot root")
    before = kept.read_bytes()
    running.end()
    kept.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    running.start()
    ephemeral_signs()
    wait_until(lambda: kept.read_bytes()[2:19] != before[2:19], "another boot root")
