"""``keyiso tpm`` and ``keyiso recovery``: machine roots are made, kept, moved, and never shown."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from keyiso.cli._recovery_keys import read_public_key
from keyiso.crypto.key_blob import Root
from keyiso.crypto.recovery import seal_for_recovery
from keyiso.tpm.constants import TPM_ALG
from keyiso.tpm.entity import Entity
from keyiso.tpm.general_commands import TPM2_PCR_Extend
from keyiso.tpm.latch import LATCH_PCR, extend_latch
from keyiso.tpm.pcr import TPMT_HA
from keyiso.tpm.session import EmptyPassword
from keyiso.trustlet.arming.memory_lock import may_lock_everything
from tests.cli.command import DEADLINE_SECONDS, KEYISO, assert_reads, keyiso, on_terminal
from tests.roots.machine import EnrolledMachine
from tests.tpm.swtpm import Swtpm


def latch(machine: EnrolledMachine) -> None:
    with machine.tpm.opened() as tpm:
        extend_latch(tpm, machine.enrolment.newest.sealed_root.srk)


def extend(machine: EnrolledMachine, pcr: int) -> None:
    """As another boot loader would have done it."""
    event = TPMT_HA(TPM_ALG.SHA256, b"e" * 32)
    with machine.tpm.opened() as tpm:
        tpm.run(TPM2_PCR_Extend(Entity.of(pcr), (event,)), EmptyPassword())


def state(machine: EnrolledMachine) -> str:
    return str(keyiso("tpm", "status", "--json").json["state"])


# --- enrolment ---------------------------------------------------------------------------------


def test_a_machine_is_enrolled_once(machine: EnrolledMachine) -> None:
    nothing = machine.run("tpm", "status", "--json").json
    machine.enrol("--pcr", "7", "--pcr", "12")
    (secret,) = machine.secrets()
    printed = machine.fails("tpm", "enroll", "--tpm", machine.address)

    assert nothing["enrolled"] is False
    assert machine.run("tpm", "status", "--json").json == {
        "enrolled": True,
        "file": str(machine.file),
        "tpm": machine.address,
        "unseal": "any-start",
        "pcrs": [7, 12],
        "roots": [machine.enrolment.newest.root_id.hex()],
        "recovery_key": None,
        "state": "open",
        "problem": None,
    }
    assert "NTE_EXISTS" in printed and "keyiso tpm rotate" in printed
    assert machine.secrets() == [secret]


def test_what_is_said_when_a_machine_is_enrolled(machine: EnrolledMachine) -> None:
    ended = machine.run("tpm", "enroll", "--tpm", machine.address, "--unseal", "once-per-boot")

    assert_reads(
        ended.text,
        """\
Enrolled:     unix:/.../tpm.sock
Machine root: ...
Unsealed:     once-per-boot
Recovery:     NONE: without this TPM the keys are lost
Stored in:    /.../home/state/vbs-trustlet/enrolment
The file is not secret, and the TPM opens nothing without it: `keyiso backup` has it.
""",
    )


def test_only_the_trustlets_user_reads_the_file(machine: EnrolledMachine) -> None:
    machine.enrol()

    assert machine.file.stat().st_mode & 0o777 == 0o600
    assert machine.file.parent.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in machine.file.parent.iterdir()} == {
        "enrolment",
        "enrolment.lock",
    }


@pytest.mark.parametrize(
    ("address", "status"),
    [("unix:/nonexistent", "NTE_DEVICE_NOT_FOUND"), ("tpm", "NTE_INVALID_PARAMETER")],
)
def test_without_a_tpm_nothing_is_enrolled(
    machine: EnrolledMachine, address: str, status: str
) -> None:
    assert status in machine.fails("tpm", "enroll", "--tpm", address)
    assert not machine.file.exists()


def test_nothing_is_enrolled_after_the_latch_fell(machine: EnrolledMachine) -> None:
    machine.enrol()
    latch(machine)
    machine.file.unlink()

    assert "KEYISO_E_TPM_LATCHED" in machine.fails("tpm", "enroll", "--tpm", machine.address)


def test_two_commands_do_not_change_an_enrolment_at_a_time(machine: EnrolledMachine) -> None:
    machine.enrol(recovery=True)
    with machine.restoring():
        assert "another command is changing" in machine.fails("tpm", "rotate", "--no-recovery")


def test_a_damaged_enrolment_is_not_replaced(machine: EnrolledMachine) -> None:
    machine.enrol()
    machine.file.write_bytes(machine.file.read_bytes()[:-1])

    for command in (("tpm", "enroll", "--tpm", machine.address), ("tpm", "rotate")):
        assert "NTE_BAD_DATA" in machine.fails(*command)


def test_another_directory_of_somebody_else_is_refused(machine: EnrolledMachine) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a directory away is root's")
    machine.enrol()
    os.chown(machine.file.parents[1], 1, 1)

    assert "NTE_PERM" in machine.fails("tpm", "rotate")


# --- the states of a TPM -----------------------------------------------------------------------


def test_a_latched_tpm_is_no_error(machine: EnrolledMachine) -> None:
    machine.enrol()
    latch(machine)
    ended = machine.run("tpm", "status")

    assert "latched: the TPM opens nothing until the machine is restarted" in ended.text
    assert state(machine) == "latched"


def test_status_says_why_a_tpm_refuses(machine: EnrolledMachine) -> None:
    machine.enrol("--pcr", "7")
    extend(machine, 7)
    ended = keyiso("tpm", "status")
    found = keyiso("tpm", "status", "--json").json

    assert ended.code == 1
    assert "THE TPM DOES NOT OPEN THE ROOT" in ended.text
    assert "other values of PCR 7" in ended.errors
    assert (found["state"], found["problem"]["status"]) == ("refused", "TPM_20_E_POLICY_FAIL")


def test_a_disk_in_another_machine_opens_nothing(
    machine: EnrolledMachine, other_tpm: Swtpm
) -> None:
    machine.enrol(recovery=True)
    (secret,) = machine.secrets()
    machine.tpm.power_off()
    machine.tpm.socket.symlink_to(other_tpm.socket)

    assert keyiso("tpm", "status", "--json").json["problem"]["status"] == "KEYISO_E_TPM_CHANGED"
    for command in (
        ("tpm", "rotate", "--no-recovery"),
        ("recovery", "enroll", "--key", machine.public_recovery_key),
    ):
        assert "KEYISO_E_TPM_CHANGED" in machine.fails(*command)
    machine.restore()
    assert machine.secrets()[1:] == [secret]  # with the recovery key it does
    machine.tpm.socket.unlink()
    machine.tpm.boot()


# --- rotation ----------------------------------------------------------------------------------


def test_after_a_rotation_old_roots_still_open(machine: EnrolledMachine) -> None:
    machine.enrol("--pcr", "3")
    first = machine.secrets()
    machine.run("tpm", "rotate")
    second = machine.secrets()
    machine.run("tpm", "rotate")
    third = machine.secrets()

    assert [len(first), len(second), len(third)] == [1, 2, 3]
    assert len(set(third)) == 3
    assert (second[1:], third[1:]) == (first, second)
    assert sorted(machine.enrolment.newest.sealed_root.pcrs.by_pcr) == [3, LATCH_PCR]


def test_a_rotation_asks_for_the_recovery_key_again(machine: EnrolledMachine) -> None:
    machine.enrol(recovery=True)
    ended = keyiso("tpm", "rotate")
    assert (ended.code, "--no-recovery" in ended.errors) == (2, True)
    machine.run("tpm", "rotate", "--recovery-key", machine.public_recovery_key)
    kept = machine.enrolment
    machine.run("tpm", "rotate", "--no-recovery")
    dropped = machine.enrolment

    assert len(kept.roots) == 2 and all(root.recovery_copy for root in kept.roots)
    assert len(dropped.roots) == 3 and not any(root.recovery_copy for root in dropped.roots)


def test_nothing_is_rotated_after_the_latch_fell(machine: EnrolledMachine) -> None:
    """Also where the boot has measured something before it, so that only the old root tells."""
    extend(machine, LATCH_PCR)
    machine.enrol()
    latch(machine)

    printed = machine.fails("tpm", "rotate")
    assert "KEYISO_E_TPM_LATCHED" in printed and "Restart the machine." in printed
    machine.tpm.reboot()
    extend(machine, LATCH_PCR)
    machine.run("tpm", "rotate")


def test_only_roots_that_no_key_needs_are_retired(machine: EnrolledMachine) -> None:
    machine.enrol()
    machine.run("tpm", "rotate")
    newest = machine.secrets()[0]
    assert keyiso("tpm", "retire").code == 2  # nobody can be asked
    machine.run("tpm", "retire", "--yes")

    assert machine.secrets() == [newest]
    assert "nothing was done" in machine.run("tpm", "retire", "--yes").text


# --- recovery ----------------------------------------------------------------------------------


def test_recovery_copies_can_be_made_later(machine: EnrolledMachine) -> None:
    machine.enrol()
    machine.run("tpm", "rotate")
    roots = machine.secrets()
    printed = machine.fails("recovery", "restore")
    machine.run("recovery", "enroll", "--key", machine.public_recovery_key)
    machine.tpm.tool("tpm2_clear", "-c", "p")
    machine.restore()

    assert "no recovery copy" in printed
    assert machine.secrets()[1:] == roots


def test_recovery_copies_cannot_be_made_after_the_latch_fell(machine: EnrolledMachine) -> None:
    machine.enrol()
    latch(machine)

    printed = machine.fails("recovery", "enroll", "--key", machine.public_recovery_key)
    assert "KEYISO_E_TPM_LATCHED" in printed


def test_a_cleared_tpm_is_healed_as_often_as_it_takes(machine: EnrolledMachine) -> None:
    machine.enrol("--unseal", "once-per-boot", recovery=True)
    roots = machine.secrets()
    for number in range(2):
        machine.tpm.tool("tpm2_clear", "-c", "p")
        assert state(machine) == "refused"
        machine.restore()
        assert state(machine) == "open"
        recovered = machine.secrets()
        assert (len(recovered), recovered[1:]) == (2 + number, roots)
        roots = recovered
    assert machine.enrolment.unseal == "once-per-boot"


def test_another_boot_is_healed(machine: EnrolledMachine) -> None:
    """New firmware: the PCRs hold something else, and nothing but the recovery key opens."""
    machine.enrol("--pcr", "7", recovery=True)
    roots = machine.secrets()
    extend(machine, 7)
    assert "of PCR 7" in machine.fails("tpm", "rotate", "--no-recovery")
    machine.restore()

    assert machine.secrets()[1:] == roots
    assert sorted(machine.enrolment.newest.sealed_root.pcrs.by_pcr) == [7, LATCH_PCR]


def test_a_restore_is_refused_before_anybody_is_asked_when_it_would_be_in_vain(
    machine: EnrolledMachine,
) -> None:
    extend(machine, LATCH_PCR)
    machine.enrol(recovery=True)
    latch(machine)
    machine.tpm.tool("tpm2_clear", "-c", "p")

    assert "KEYISO_E_TPM_LATCHED" in machine.fails("recovery", "restore")


def test_an_answer_is_good_for_one_request(machine: EnrolledMachine) -> None:
    machine.enrol(recovery=True)
    before = machine.file.read_bytes()
    with machine.restoring() as first:
        answer = machine.answer_to(first.request)
    with machine.restoring() as second:
        assert "NTE_BAD_DATA" in second.ends_with(answer, 1).errors
    changed = bytearray(answer)
    changed[len(answer) // 2] ^= 1
    for bad in (bytes(changed), answer[: len(answer) // 2], b""):
        with machine.restoring() as third:
            assert "NTE_BAD_DATA" in third.ends_with(bad, 1).errors

    assert machine.file.read_bytes() == before


def test_another_recovery_key_answers_nothing(machine: EnrolledMachine, tmp_path: Path) -> None:
    machine.enrol(recovery=True)
    other = tmp_path / "other key"
    machine.run("recovery", "keygen", other, "--no-password")
    with machine.restoring() as waiting:
        ended = keyiso(*("recovery", "answer", "-", "--yes", "--key", other), stdin=waiting.request)

    assert ended.code == 1 and "NTE_BAD_KEY" in ended.errors and not ended.output


def test_a_recovery_copy_of_another_root_is_noticed(machine: EnrolledMachine) -> None:
    """Who writes the disk may put a copy in another one's place."""
    machine.enrol(recovery=True)
    public_key = read_public_key(machine.public_recovery_key)
    copy = seal_for_recovery(Root(b"o" * 16, "machine", b"s" * 32), public_key)
    root = msgspec.structs.replace(machine.enrolment.newest, recovery_copy=copy)
    machine.replace(roots=(root,))
    with machine.restoring() as waiting:
        ended = keyiso(
            *("recovery", "answer", "-", "--yes", "--key", machine.recovery_key),
            stdin=waiting.request,
        )

    assert ended.code == 1 and "NTE_BAD_DATA" in ended.errors


# --- recovery keys -----------------------------------------------------------------------------


def test_a_recovery_key_is_private_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "key"
    ended = keyiso("recovery", "keygen", path, "--no-password")
    again = keyiso("recovery", "keygen", path, "--no-password")

    assert ended.code == 0 and again.code == 2
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in Path(f"{path}.pub").read_bytes()


def test_a_recovery_key_opens_with_its_password_alone(
    machine: EnrolledMachine, tmp_path: Path
) -> None:
    password, wrong = tmp_path / "password", tmp_path / "wrong"
    password.write_bytes(b"correct horse\n")
    wrong.write_bytes(b"battery staple\n")
    key = tmp_path / "key"
    machine.run("recovery", "keygen", key, "--password-file", password)
    machine.enrol("--recovery-key", f"{key}.pub")
    with machine.restoring() as waiting:
        arguments = ("recovery", "answer", "-", "--yes", "--key", key, "--password-file")
        refused = keyiso(*arguments, wrong, stdin=waiting.request)
        answered = keyiso(*arguments, password, stdin=waiting.request)
        waiting.ends_with(answered.output)

    assert "NTE_INCORRECT_PASSWORD" in refused.errors and not refused.output


def test_what_is_no_recovery_key_is_refused(machine: EnrolledMachine) -> None:
    private_key = machine.recovery_key
    printed = machine.fails(
        "tpm", "enroll", "--tpm", machine.address, "--recovery-key", private_key
    )

    assert "is no public recovery key" in printed


def test_who_answers_is_asked_first(machine: EnrolledMachine, tmp_path: Path) -> None:
    machine.enrol(recovery=True)
    with machine.restoring() as waiting:
        request = tmp_path / "request"
        request.write_bytes(waiting.request)
        nobody = keyiso("recovery", "answer", request, "--key", machine.recovery_key)
        code, seen = on_terminal(
            *("recovery", "answer", str(request), "--key", str(machine.recovery_key)),
            prompt=b"printed? [y/N]: ",
            typed=b"n\n",
        )

    assert nobody.code == 2
    assert (code, b"BEGIN" in seen) == (1, False)
    assert machine.enrolment.newest.root_id.hex().encode() in seen


# --- backups -----------------------------------------------------------------------------------


def test_a_lost_machine_is_restored_from_a_backup_and_the_recovery_key(
    machine: EnrolledMachine, other_tpm: Swtpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.enrol(recovery=True)
    roots = machine.secrets()
    machine.run("key", "create", "web", "--algorithm", "ECDSA_P256")
    backup = tmp_path / "backup"
    machine.run("backup", backup)
    machine.run("stop")
    other = EnrolledMachine(other_tpm, tmp_path)
    monkeypatch.setenv("KEYISO_HOME", str(tmp_path / "other home"))
    restored = other.run("restore", backup, "--yes", "--json").json
    assert restored["backup"]["has_enrolment"] and restored["enrolment"]
    other.restore("--tpm", other.address)

    assert other.secrets()[1:] == roots
    assert not other.run("restore", backup, "--yes", "--json").json["enrolment"]


def test_where_no_process_can_be_armed_the_reason_is_told(machine: EnrolledMachine) -> None:
    if os.geteuid() == 0 and may_lock_everything("self"):
        limited: tuple[str, ...] = ("setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock")
    else:
        limited = ()
    ended = subprocess.run(
        [
            *("prlimit", "--memlock=65536:65536", *limited),
            *(*KEYISO, "tpm", "enroll", "--tpm", machine.address),
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    if ended.returncode == 0:
        pytest.skip("the limit of locked memory can be raised here")

    assert ended.returncode == 7, ended.stderr
    assert "RLIMIT_MEMLOCK" in ended.stderr
    assert not machine.file.exists()
