"""Keys of level ``vbs``, their machine root in the TPM of a machine that is really restarted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm.conftest import NewMachine
from tests.vm.machine import Machine
from tests.vm.virtual_tpm import VirtualTpm

pytestmark = pytest.mark.vm

MEGABYTES = 768
"""Armed workers lock their memory."""

ENROL = """
set -e
keyiso recovery keygen /root/recovery --no-password
keyiso tpm enroll --system --recovery-key /root/recovery.pub
"""
RECOVER = """
set -e
mkfifo /tmp/answer
keyiso recovery restore --system </tmp/answer >/tmp/request &
exec 3>/tmp/answer
until grep -q END /tmp/request; do usleep 50000; done
keyiso recovery answer - --yes --key /root/recovery </tmp/request >&3
exec 3>&-
wait $!
"""
REQUIRE = "Protection.REQUIRE_VBS"
MOST_TRIES = 200
"""Each takes a second or two."""
USE = """
def use(name):
    return outcome(lambda: signs(Key.open(name)))
tell({name: use(name) for name in %r})
"""
UNSEAL = """
from keyiso.clock import SystemClock
from keyiso.paths import server_instance
from keyiso.tpm.enrolment import decode_enrolment, open_tpm, unseal_machine_roots

enrolment = decode_enrolment(server_instance({}, system=True).vbs_enrolment.read_bytes())
with open_tpm(enrolment.tpm, SystemClock()) as tpm:
    tell(outcome(lambda: len(unseal_machine_roots(enrolment, tpm))))
"""


@pytest.fixture(scope="module")
def enrolled(disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with a few keys, that was switched off."""
    directory = tmp_path_factory.mktemp("enrolled")
    tpm = VirtualTpm(directory / "tpm")
    with Machine(directory / "machine", disk, tpm, megabytes=MEGABYTES) as machine:
        machine.start()
        assert creates(machine, "ordinary") == "signs"
        machine.output(ENROL)
        machine.reboot()  # what is unsealed once in a boot is used from the next start
        assert creates(machine, "stored", protection=REQUIRE) == "signs"
        machine.stop()
        yield machine


@pytest.fixture
def machine(enrolled: Machine, new_machine: NewMachine, tmp_path: Path) -> Machine:
    """The enrolled machine, switched off."""
    assert enrolled.tpm
    return new_machine(enrolled, tpm=enrolled.tpm.copy(tmp_path / "tpm"), megabytes=MEGABYTES)


def creates(machine: Machine, name: str, **options: object) -> str:
    """What comes of creating a key and using it."""
    words = "".join(f", {option}={value}" for option, value in options.items())
    told: str = machine.told(
        f'tell(outcome(lambda: signs(Key.create({name!r}, "ECDSA_P256"{words}))))'
    )
    return told


def uses(machine: Machine, *names: str) -> dict[str, str]:
    """What comes of using keys, by name."""
    told: dict[str, str] = machine.told(USE % (names,))
    return told


def test_a_stored_key_outlives_a_reboot_and_a_per_boot_key_does_not(machine: Machine) -> None:
    machine.start()
    assert creates(machine, "of this boot", protection=REQUIRE, per_boot=True) == "signs"
    assert uses(machine, "stored", "of this boot") == {"stored": "signs", "of this boot": "signs"}
    machine.reboot()

    assert uses(machine, "stored", "of this boot", "ordinary") == {
        "stored": "signs",
        "of this boot": "NTE_VBS_CANNOT_DECRYPT_KEY",
        "ordinary": "signs",
    }


def test_the_latch_holds_until_the_machine_is_restarted(machine: Machine) -> None:
    """Root asks the TPM itself, which gave the roots to keyiso a moment ago."""
    machine.start()
    assert uses(machine, "stored") == {"stored": "signs"}
    for _ in range(MOST_TRIES):  # until all pairs of the pool have the roots
        if (unsealed := machine.told(UNSEAL)) != 1:
            break
    assert unsealed == "KEYISO_E_TPM_LATCHED"
    machine.output("rm /etc/keyiso-service")  # nobody asks for the roots in the next boot
    machine.reboot()

    assert machine.told(UNSEAL) == 1


def test_a_copied_disk_opens_nothing_with_another_tpm(
    enrolled: Machine, new_machine: NewMachine, new_tpm: Callable[[], VirtualTpm]
) -> None:
    machine = new_machine(enrolled, tpm=new_tpm(), megabytes=MEGABYTES)
    machine.start()

    assert uses(machine, "stored", "ordinary") == {
        "stored": "KEYISO_E_ROOT_MISSING",
        "ordinary": "signs",
    }


def test_a_cleared_tpm_leaves_the_rest_served_and_recovery_heals_it(machine: Machine) -> None:
    assert machine.tpm
    machine.tpm.clear()
    machine.start()
    assert uses(machine, "stored", "ordinary") == {
        "stored": "KEYISO_E_ROOT_MISSING",
        "ordinary": "signs",
    }
    machine.output(RECOVER)
    machine.reboot()

    assert uses(machine, "stored", "ordinary") == {"stored": "signs", "ordinary": "signs"}
