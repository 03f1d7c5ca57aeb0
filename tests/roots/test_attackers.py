"""What others get of the machine roots: root with tpm2-tools, and whoever reads and listens."""

import contextlib
import os
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyiso.tpm.constants import TPM_CC
from keyiso.tpm.latch import LATCH_PCR, extend_latch
from keyiso.trustlet.arming.mappings import regions_of
from keyiso.trustlet.arming.process import status_of
from tests.cli.command import DEADLINE_SECONDS, KEYISO
from tests.roots.machine import EnrolledMachine
from tests.roots.stalling import StallingRelay
from tests.tpm.swtpm import ATTRIBUTES, UNIQUE
from tests.waiting import wait_until

HIERARCHIES = {"o": "owner", "n": "null", "e": "endorsement", "p": "platform"}

# --- root with tpm2-tools ----------------------------------------------------------------------


def unsealed_by_tools(machine: EnrolledMachine, hierarchy: str) -> bytes | str:
    """The newest root, out of the enrolment's file by the owner's standard tools; or what the TPM
    says."""
    tpm = machine.tpm
    private, public = machine.enrolment.newest.sealed_root.sealed.encode_fields().values()
    (tpm.directory / "root.priv").write_bytes(private)
    (tpm.directory / "root.pub").write_bytes(public)
    (tpm.directory / "unique").write_bytes(UNIQUE["ecc"])
    try:
        tpm.tool(
            *("tpm2_createprimary", "-C", hierarchy, "-g", "sha256", "-G", "ecc"),
            *("-a", ATTRIBUTES, "-u", "unique", "-c", "parent.ctx"),
        )
        tpm.tool("tpm2_flushcontext", "-t")
        load = ("tpm2_load", "-C", "parent.ctx", "-u", "root.pub", "-r", "root.priv")
        if hierarchy != "o":
            return tpm.tool(*load, "-c", "root.ctx", fails=True)
        tpm.tool(*load, "-c", "root.ctx")
        tpm.tool("tpm2_flushcontext", "-t")
        tpm.tool("tpm2_startauthsession", "--policy-session", "-S", "policy.ctx")
        tpm.tool("tpm2_policypcr", "-S", "policy.ctx", "-l", f"sha256:{LATCH_PCR}")
        unseal = ("tpm2_unseal", "-c", "root.ctx", "-p", "session:policy.ctx", "-o", "root")
        if is_latched(machine):
            return tpm.tool(*unseal, fails=True)
        tpm.tool(*unseal)
        return (tpm.directory / "root").read_bytes()
    finally:
        tpm.flush_all()


def is_latched(machine: EnrolledMachine) -> bool:
    return str(machine.run("tpm", "status", "--json").json["state"]) == "latched"


def latch(machine: EnrolledMachine) -> None:
    with machine.tpm.opened() as tpm:
        extend_latch(tpm, machine.enrolment.newest.sealed_root.srk)


def test_before_the_latch_root_unseals_in_the_owners_hierarchy_and_no_other(
    machine: EnrolledMachine,
) -> None:
    """The first is not stopped, as the documentation says; it also shows that the tools work."""
    machine.enrol()

    assert unsealed_by_tools(machine, "o") == machine.secrets()[0]
    for hierarchy in "nep":
        assert "0x1DF" in str(unsealed_by_tools(machine, hierarchy)).upper().replace("0X", "0x")


@pytest.mark.parametrize("hierarchy", HIERARCHIES, ids=HIERARCHIES.get)
def test_after_the_latch_root_unseals_nothing(machine: EnrolledMachine, hierarchy: str) -> None:
    machine.enrol()
    latch(machine)
    said = str(unsealed_by_tools(machine, hierarchy)).upper().replace("0X", "0x")

    assert ("0x99D" if hierarchy == "o" else "0x1DF") in said


def test_after_the_latch_root_unseals_again_when_it_restarts_the_machine(
    machine: EnrolledMachine,
) -> None:
    """Not stopped: what runs first in a boot gets the roots."""
    machine.enrol()
    (secret,) = machine.secrets()
    latch(machine)
    machine.tpm.reboot()

    assert unsealed_by_tools(machine, "o") == secret


# --- who reads and listens ---------------------------------------------------------------------


def forms(secret: bytes) -> dict[str, bytes]:
    """How a root could be written."""
    return {
        "root": secret,
        "root reversed": secret[::-1],
        "root hexadecimal": secret.hex().encode(),
        "root in base64": b64encode(secret),
    }


def found_in(secrets: list[bytes], *places: bytes) -> set[str]:
    """The forms of which there are 15 bytes in a row: one of their blocks of 8 is among those."""
    return {
        name
        for secret in secrets
        for name, form in forms(secret).items()
        for at in range(0, len(form), 8)
        if any(form[at : at + 8] in place for place in places)
    }


def descendants(pid: int) -> set[int]:
    """A process and all that it has started, and those."""
    everybody = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            everybody[int(name)] = int(status_of(name, "PPid"))
    found = {pid}
    while new := {one for one, parent in everybody.items() if parent in found} - found:
        found |= new
    return found


def readable_of(pid: int) -> Iterator[bytes]:
    """What root can read of a process: memory, arguments, environment."""
    for name in ("cmdline", "environ", "auxv", "stat"):
        yield Path(f"/proc/{pid}/{name}").read_bytes()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for region in regions_of(pid):
            with contextlib.suppress(OSError, ValueError, OverflowError):
                yield os.pread(memory.fileno(), region.size, region.start)


def files_under(directory: Path) -> Iterator[bytes]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="reading other processes is root's")
def test_a_root_is_nowhere_to_be_read_while_it_is_in_use(
    machine: EnrolledMachine, tmp_path: Path
) -> None:
    """The worker is stopped with an old root and a new one in the clear: it has unsealed the one
    and is about to have the other one sealed. All that there is of the command is read then, and
    compared with both roots afterwards, when the TPM has given the new one to the test.
    """
    relay = StallingRelay(machine.tpm.socket, TPM_CC.Create, at=2)  # the first is the rehearsal's
    address = tmp_path / "relay.sock"
    machine.enrol()
    machine.replace(tpm=f"unix:{address}")
    with relay.listening(address):
        command = subprocess.Popen(
            [*KEYISO, "tpm", "rotate"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        wait_until(lambda: relay.stalled.is_set() or command.poll() is not None, "the rotation")
        processes = {pid: name_of(pid) for pid in descendants(command.pid)}
        seen = {pid: tuple(readable_of(pid)) for pid in processes}
        relay.go_on.set()
        output, errors = command.communicate(timeout=DEADLINE_SECONDS)
    assert command.returncode == 0, errors
    secrets = machine.secrets()
    control = tuple(readable_of(os.getpid()))

    assert len(secrets) == 2
    assert len(processes) == 3  # the command, the guardian, and the worker, which has no name
    assert sorted(map(bool, processes.values())) == [False, True, True]
    for pid, name in processes.items():
        assert found_in(secrets, *seen[pid]) == set(), name
    assert found_in(secrets, output, errors, relay.wire) == set()
    assert found_in(secrets, *files_under(tmp_path)) == set()
    assert "root" in found_in(secrets, *control)  # whose memory is like everybody's


def test_what_is_carried_by_hand_has_no_root(machine: EnrolledMachine, tmp_path: Path) -> None:
    machine.enrol(recovery=True)
    with machine.restoring() as waiting:
        answer = machine.answer_to(waiting.request)
        ended = waiting.ends_with(answer)
    secrets = machine.secrets()

    assert len(secrets) == 2
    assert found_in(secrets, waiting.request, answer, ended.output) == set()
    assert found_in(secrets, ended.errors.encode(), *files_under(tmp_path)) == set()
    assert found_in(secrets, b"..." + secrets[1].hex().encode()) == {"root hexadecimal"}
