"""Attacks that need a kernel of Debian: it runs root's BPF programs, and has BPF LSM and Yama."""

import json
import shlex
from pathlib import Path

import pytest

from tests.vm.conftest import NewMachine

pytestmark = pytest.mark.vm

CHECKOUT = Path(__file__).parents[2]
SECONDS = 900.0
IN_THE_KERNEL = "armed and (BPF or uprobe)"
"""Of the attacks of the suite."""


def test_what_only_a_kernel_of_debian_allows(
    new_machine: NewMachine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = new_machine(megabytes=1024)
    machine.start()
    assert "bpf" in machine.output("cat /sys/kernel/security/lsm").strip().split(",")
    for selected in (
        ["tests/attack/test_bpf_lsm.py"],
        ["tests/attack/test_attacks.py", "-k", IN_THE_KERNEL],
    ):
        ended = machine.run(
            f"cd {CHECKOUT} && exec python -m pytest -m attack -rs -p no:cacheprovider"
            f" {shlex.join(selected)}",
            seconds=SECONDS,
        )
        with capsys.disabled():
            print(ended.output)
        assert ended.status == 0, ended.output
        assert " passed" in ended.output and " skipped" not in ended.output


def test_what_yama_forbids_is_named(new_machine: NewMachine) -> None:
    """By the refusal of a key, and by the doctor, who finds the rest of this kernel as it is."""
    machine = new_machine(megabytes=768)
    machine.start()
    machine.output("echo 3 >/proc/sys/kernel/yama/ptrace_scope")
    refusal = machine.told("""
try:
    Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS)
except NCryptError as error:
    tell([status_name(error.status), str(error)])
""")
    assert refusal[0] == "NTE_VBS_UNAVAILABLE"
    assert "ptrace_scope" in refusal[1]
    found = json.loads(machine.run("keyiso doctor --json").output)["findings"]
    states = {one["name"]: one["state"] for one in found}
    assert states["guard-allowed"] == "no"
    assert states["bpf-lsm"] == "yes"
    assert states["secure-boot"] == "no"


def test_the_shield_that_keyiso_serves_with(new_machine: NewMachine) -> None:
    """Root's BPF programs and perf are refused while it runs, and its own keys are served."""
    machine = new_machine(megabytes=768)
    machine.start()
    assert machine.told(ROOT_LOOKS) == {"bpf": "allowed", "perf": "allowed"}
    machine.output(f"mkdir -p /etc/keyiso && echo {shlex.quote(REQUIRED)} >/etc/keyiso/keyiso.toml")
    machine.output("keyiso stop --system")
    machine.output("until keyiso status >/dev/null; do usleep 200000; done")
    assert machine.told(REFUSED) == "NTE_VBS_UNAVAILABLE"
    machine.output("cp /etc/keyiso-service /tmp/before")
    machine.output(f"sed -i 's/-I -m keyiso.supervisor/{SHIELDED}/' /etc/keyiso-service")
    machine.output("keyiso stop --system")
    machine.output(UNTIL_SHIELDED)

    signed = 'tell(signs(Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS)))'
    assert machine.told(signed) == "signs"
    assert machine.told(ROOT_LOOKS) == {"bpf": "refused", "perf": "refused"}
    found = json.loads(machine.run("keyiso doctor --json").output)["findings"]
    shield = next(one for one in found if one["name"] == "bpf-lsm")
    assert (shield["state"], shield["evidence"]) == ("yes", "it is up: keyiso serves with it")

    machine.output("cp /tmp/before /etc/keyiso-service && keyiso stop --system")
    machine.output("until keyiso status >/dev/null; do usleep 200000; done")
    assert machine.told(ROOT_LOOKS) == {"bpf": "allowed", "perf": "allowed"}


REQUIRED = '[isolation]\nrequire = ["bpf-lsm"]'
REFUSED = """
try:
    Key.create(None, "ECDSA_P256", protection=Protection.REQUIRE_VBS)
except NCryptError as error:
    tell(status_name(error.status))
"""
SHIELDED = "-m keyiso serve --shield bpf-lsm"
UNTIL_SHIELDED = "until keyiso status | grep -q 'that are up: bpf-lsm'; do usleep 200000; done"

ROOT_LOOKS = """
import ctypes, os, struct
from keyiso.trustlet.arming.bpf import PROG_GET_NEXT_ID, bpf
from keyiso.trustlet.arming.kernel import system_call

def allowed(look):
    try:
        look()
    except FileNotFoundError:  # no program is loaded
        pass
    except PermissionError:
        return "refused"
    return "allowed"

clock = ctypes.create_string_buffer(struct.pack("=II", 1, 64), 64)
tell({
    "bpf": allowed(lambda: bpf(PROG_GET_NEXT_ID, ctypes.create_string_buffer(16))),
    "perf": allowed(lambda: os.close(
        system_call("perf_event_open", ctypes.addressof(clock), 0, -1, -1, 0)
    )),
})
"""
