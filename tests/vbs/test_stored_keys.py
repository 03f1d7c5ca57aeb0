"""Stored ``vbs`` keys, with a TPM in software that is enrolled."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from keyiso import Key, Protection
from keyiso.client.binding import bind_process
from keyiso.errors import NCryptError, VbsUnavailableError
from keyiso.status import Status
from tests.instance import RunningInstance
from tests.restart.victims import wait_until
from tests.roots.machine import EnrolledMachine
from tests.tpm.swtpm import Swtpm
from tests.vbs.serving import instance_on

SOME = 4
"""As often as channels go round the workers twice."""


@pytest.fixture
def running(machine: EnrolledMachine) -> Iterator[RunningInstance]:
    """An instance on a machine where nothing is enrolled yet; tests start it."""
    with instance_on(machine) as running:
        yield running


def stored(name: str, protection: Protection = Protection.REQUIRE_VBS) -> Key:
    return Key.create(name, "ECDSA_P256", protection=protection)


def check(key: Key) -> None:
    assert key.protection.level == "vbs"
    key.verify(key.sign(b"data"), b"data")


def status_of(work: Callable[[], object]) -> int:
    with pytest.raises(NCryptError) as caught:
        work()
    return caught.value.status


def restart(running: RunningInstance) -> None:
    running.kill_everything()
    running.start()


def wait_for_root(running: RunningInstance, state: str) -> None:
    """Until the workers, which are started anew one after the other, have it."""

    def has_it() -> bool:
        return bind_process(running.environ).isolation().machine_root == state

    wait_until(has_it, f"the machine root is not {state}")


def test_a_stored_key_outlives_all_processes(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    with stored("kept") as key, stored("kept too", Protection.PREFER_VBS) as other:
        check(key)
        check(other)
        assert key.protection.lifetime == "persisted"
        restart(running)
        check(key)
        with Key.open("kept too") as again:
            assert again.unique_name == other.unique_name
            check(again)


def test_a_running_instance_takes_an_enrolment_up_and_loses_nothing(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    running.start()
    with Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as ephemeral:
        with pytest.raises(VbsUnavailableError):
            stored("too early")
        machine.enrol()
        wait_for_root(running, "present")
        with stored("in time") as key:
            check(key)
            check(ephemeral)


def test_a_root_that_was_replaced_still_opens_what_it_sealed(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    with stored("old") as old:
        machine.run("tpm", "rotate")
        restart(running)
        with stored("new") as new:
            check(old)
            check(new)


def test_a_pair_without_the_root_leaves_its_keys_to_one_that_has_it(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    """As it is for a moment whenever pairs are replaced one after the other."""
    machine.enrol(recovery=True)
    running.start()
    with stored("kept") as key:
        check(key)
        machine.tpm.tool("tpm2_clear", "-c", "p")
        restart(running)
        assert status_of(lambda: key.sign(b"data")) == Status.KEYISO_E_ROOT_MISSING
        with unreachable_supervisor(running):
            machine.restore()  # which would have all pairs replaced
        assert status_of(lambda: key.sign(b"data")) == Status.KEYISO_E_ROOT_MISSING

        running.kill("vbs-0")
        wait_for_root(running, "present")

        check(key)
        for _ in range(SOME):
            with Key.open("kept") as again, stored("new") as new:
                check(again)
                check(new)
                new.delete()


@contextlib.contextmanager
def unreachable_supervisor(running: RunningInstance) -> Iterator[None]:
    address = running.instance.supervisor_socket
    hidden = address.with_name("hidden")
    address.rename(hidden)
    try:
        yield
    finally:
        hidden.rename(address)


def test_a_tpm_that_was_cleared_leaves_the_rest_served_and_recovery_heals_it(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol(recovery=True)
    running.start()
    with stored("lost and found") as key, Key.create("ordinary", "ECDSA_P256") as ordinary:
        check(key)
        machine.tpm.tool("tpm2_clear", "-c", "p")
        restart(running)
        ordinary.verify(ordinary.sign(b"data"), b"data")
        assert status_of(lambda: key.sign(b"data")) == Status.KEYISO_E_ROOT_MISSING
        assert status_of(lambda: Key.open("lost and found")) == Status.KEYISO_E_ROOT_MISSING
        assert status_of(lambda: stored("no")) == Status.KEYISO_E_ROOT_MISSING
        # A root that fails is no reason to fall back.
        preferred = status_of(lambda: stored("no", Protection.PREFER_VBS))
        assert preferred == Status.KEYISO_E_ROOT_MISSING
        with Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as ephemeral:
            check(ephemeral)
        machine.restore()
        wait_for_root(running, "present")
        check(key)


def test_a_disk_that_was_copied_opens_nothing_with_another_tpm(
    machine: EnrolledMachine, running: RunningInstance, other_tpm: Swtpm
) -> None:
    machine.enrol()
    running.start()
    with stored("of this machine") as key:
        check(key)
    running.kill_everything()
    machine.replace(tpm=f"unix:{other_tpm.socket}")
    running.start()

    assert status_of(lambda: Key.open("of this machine")) == Status.KEYISO_E_ROOT_MISSING


def test_a_tpm_that_is_off_keeps_no_other_key_from_being_used(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    machine.tpm.power_off()
    try:
        running.start()
        with (
            Key.create("ordinary", "ECDSA_P256") as ordinary,
            Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS) as ephemeral,
        ):
            ordinary.verify(ordinary.sign(b"data"), b"data")
            check(ephemeral)
        assert status_of(lambda: stored("no")) == Status.KEYISO_E_ROOT_MISSING
    finally:
        machine.tpm.boot()
    restart(running)
    with stored("yes") as key:
        check(key)


def test_a_pair_that_is_started_anew_has_the_roots_of_the_others_and_needs_no_tpm(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    def workers() -> dict[str, int]:
        return {
            one.service: one.worker_pid
            for one in running.status().processes
            if one.service.startswith("vbs-")
        }

    machine.enrol()
    running.start()
    with stored("kept") as key:
        wait_until(lambda: all(workers().values()), "not all pairs are armed")
        machine.tpm.power_off()
        try:
            for service, before in workers().items():
                running.kill(service)
                check(key)
                wait_until(lambda: workers()[service] not in (0, before), "it is not armed again")  # noqa: B023
            check(key)
        finally:
            machine.tpm.boot()
