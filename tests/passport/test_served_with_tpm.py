"""A container that a TPM keeps, by the commands that people type: wrong PINs and kills between
them, root with tpm2-tools and with old files, and a copy of the disk."""

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from keyiso.client.binding import bind_process
from keyiso.client.passport import try_pin
from keyiso.crypto.container_secret import container_of, unwrapped_secret
from keyiso.crypto.pin_cost import stretched
from keyiso.crypto.pin_counters import LockSchedule
from keyiso.errors import NCryptError
from keyiso.paths import Instance
from keyiso.status import Status
from keyiso.tpm.enrolment import decode_enrolment, encode_enrolment
from keyiso.tpm.pin_sealed import decode_pin_sealed
from keyiso.trustlet.passport.container_record import ContainerRecord
from keyiso.trustlet.passport.software_protector import SoftwareProtector
from keyiso.wire.passport import GetContainer, Ticket
from tests.cli.command import Ended, keyiso
from tests.conformance.statuses import fails
from tests.event_log import EventInstance
from tests.instance import RunningInstance, in_use
from tests.passport.conftest import NEW, RIGHT, WRONG, pin
from tests.passport.link import GENERATOR, Prompt, at_the_worker
from tests.passport.tpm_machine import (
    enrolled_machine,
    enrolment_with,
    files_of,
    index_of,
    record_of,
)
from tests.passport.with_tools import (
    clear,
    counted,
    lockout_counter,
    redefine,
    redefine_for_anybody,
    undefine,
    write_in_vain,
)
from tests.tpm.conftest import swtpm
from tests.tpm.swtpm import Swtpm
from tests.waiting import wait_until

__all__ = ["enrolled_machine", "swtpm"]

UID = os.geteuid()
ME = pwd.getpwuid(UID).pw_name
NEIGHBOUR = UID + 1


def have_it_lock_for(seconds: int, machine: EventInstance) -> None:
    """By who has the root's file: the schedule is stored sealed."""
    record = record_of(machine.instance, UID)
    changed = msgspec.structs.replace(record, schedule=LockSchedule(5, (seconds,)))
    files_of(machine.instance, UID).record.write(changed)


def passport(command: str, *pins: str) -> Ended:
    lines = "".join(f"{one}\n" for one in pins).encode()
    return keyiso("passport", command, *(["--pin-stdin"] if pins else []), stdin=lines)


def reset(text: str) -> Ended:
    return keyiso("passport", "reset", "--yes", "--pin-stdin", stdin=f"{text}\n".encode())


def log_on(text: str) -> Ended:
    return keyiso("logon", ME, "--pin-stdin", stdin=f"{text}\n".encode())


def attempts_left() -> int:
    return int(keyiso("passport", "status", "--json").json["attempts_left"])


@pytest.fixture
def machine(enrolled_machine: EventInstance) -> EventInstance:
    """Its user has a PIN."""
    enrolled = passport("enroll", RIGHT)
    assert enrolled.code == 0, enrolled.errors
    return enrolled_machine


def test_wrong_pins_are_counted_exactly_whatever_is_killed_between_them(
    machine: EventInstance, swtpm: Swtpm
) -> None:
    told = keyiso("passport", "status", "--json").json
    assert (told["protector"], told["not_stopped"]) == ("tpm", [])
    assert lockout_counter(swtpm) == 0
    have_it_lock_for(3000, machine)
    with at_the_worker(machine.instance) as client:
        Prompt(client, NEIGHBOUR).enrol(NEW)
    kills: list[Callable[[], None]] = [
        lambda: machine.kill("keyiso"),
        lambda: machine.kill(GENERATOR),
        lambda: machine.kill("keyiso", GENERATOR),
        machine.kill_everything,
    ]
    for left, kill in zip((4, 3, 2, 1), kills, strict=True):
        wrong = log_on(WRONG)
        assert wrong.code == 1
        assert f"before it is locked: {left}" in wrong.errors
        kill()
        if kill == machine.kill_everything:
            machine.start()
        assert attempts_left() == left
    assert "is locked now" in log_on(WRONG).errors
    machine.kill("keyiso", GENERATOR)

    for text in (RIGHT, WRONG, NEW):
        locked = log_on(text)
        assert locked.code == 1
        assert "NTE_AUTHENTICATION_IGNORED" in locked.errors
        with fails(Status.NTE_AUTHENTICATION_IGNORED):
            try_pin(bind_process(os.environ, service="passport"), pin(text))
    assert lockout_counter(swtpm) == 0
    with at_the_worker(machine.instance) as client:
        neighbour = Prompt(client, NEIGHBOUR)
        assert client.call(GetContainer(NEIGHBOUR)).attempts_left == 5
        assert neighbour.attempt(NEW) == Ticket(b"")


def test_the_right_pin_logs_on_after_the_backoff(machine: EventInstance, swtpm: Swtpm) -> None:
    have_it_lock_for(6, machine)
    for _ in range(4):
        assert log_on(WRONG).code == 1
    assert "is locked now" in log_on(WRONG).errors
    wait_until(lambda: log_on(RIGHT).code == 0, "the end of the lock")

    assert attempts_left() == 5
    assert lockout_counter(swtpm) == 0


# --- root with tpm2-tools -----------------------------------------------------------------------


def is_reported(machine: EventInstance, status: Status, *pins: str) -> None:
    """To whoever asks, with whatever PIN, and once in the event log."""
    for text in pins:
        ended = log_on(text)
        assert ended.code == 1
        assert status.name in ended.errors
        with fails(status):
            try_pin(bind_process(os.environ, service="passport"), pin(text))
    asked = passport("status")
    assert (asked.code, asked.text) == (1, "")
    assert status.name in asked.errors
    machine.event(event_id=1005)
    [line] = machine.events(event_id=1005)
    assert (line["level"], line["channel"]) == ("error", "Operational")
    assert line["data"] | {"ProcessName": "", "ProcessId": 0} == {
        "ContainerId": container_of(UID).hex(),
        "OwnerId": str(UID),
        "Protector": "tpm",
        "ProcessName": "",
        "ProcessId": 0,
        "UserId": str(UID),
        "Status": status,
    }


@pytest.mark.parametrize("attack", [undefine, redefine, redefine_for_anybody])
def test_an_index_that_root_replaced_lets_nobody_in_and_is_on_record(
    machine: EventInstance, swtpm: Swtpm, attack: Callable[[Swtpm, str], None]
) -> None:
    assert log_on(WRONG).code == 1
    assert machine.events(event_id=1005) == []
    attack(swtpm, index_of(machine.instance, UID))
    indices = swtpm.tool("tpm2_getcap", "handles-nv-index")

    is_reported(machine, Status.KEYISO_E_TPM_PIN_INDEX, RIGHT, WRONG, "evil")
    changed = passport("change-pin", RIGHT, NEW)
    assert "KEYISO_E_TPM_PIN_INDEX" in changed.errors
    assert swtpm.tool("tpm2_getcap", "handles-nv-index") == indices
    assert reset(NEW).code == 0
    assert log_on(NEW).code == 0
    assert log_on(RIGHT).code == 1


def test_a_tpm_that_root_cleared_lets_nobody_in_and_is_on_record(
    machine: EventInstance, swtpm: Swtpm
) -> None:
    clear(swtpm)

    is_reported(machine, Status.KEYISO_E_TPM_CHANGED, RIGHT, WRONG)
    assert "KEYISO_E_TPM_CHANGED" in reset(NEW).errors
    machine.instance.vbs_enrolment.write_bytes(enrolment_with(swtpm))
    assert reset(NEW).code == 0
    assert log_on(NEW).code == 0


def test_an_index_that_root_cannot_write_counts_on(machine: EventInstance, swtpm: Swtpm) -> None:
    assert log_on(WRONG).code == 1
    index = index_of(machine.instance, UID)
    before = counted(swtpm, index)
    write_in_vain(swtpm, index)

    assert counted(swtpm, index) == before
    assert attempts_left() == 4
    assert log_on(RIGHT).code == 0


# --- old files ----------------------------------------------------------------------------------


def test_old_files_that_are_put_back_gain_no_guess(machine: EventInstance, tmp_path: Path) -> None:
    """Those after the enrolment and after each wrong PIN, at each later moment."""
    have_it_lock_for(3000, machine)
    directory = machine.instance.containers / str(UID)
    saved: list[Path] = []
    for left in (5, 4, 3, 2, 1):
        saved.append(shutil.copytree(directory, tmp_path / f"saved {left}"))
        for old in saved:
            shutil.copytree(old, directory, dirs_exist_ok=True)
            assert attempts_left() == left
        assert log_on(WRONG).code == 1
    for old in saved:
        shutil.copytree(old, directory, dirs_exist_ok=True)
        assert attempts_left() == 0
        for text in (RIGHT, WRONG):
            with fails(Status.NTE_AUTHENTICATION_IGNORED):
                try_pin(bind_process(os.environ, service="passport"), pin(text))


@pytest.mark.parametrize("way", ["change", "reset"])
def test_the_files_of_an_old_pin_let_nobody_in_and_are_on_record(
    machine: EventInstance, tmp_path: Path, way: str
) -> None:
    directory = machine.instance.containers / str(UID)
    shutil.copytree(directory, tmp_path / "old")
    assert (passport("change-pin", RIGHT, NEW) if way == "change" else reset(NEW)).code == 0
    shutil.copytree(directory, tmp_path / "new")
    shutil.copytree(tmp_path / "old", directory, dirs_exist_ok=True)

    is_reported(machine, Status.KEYISO_E_TPM_PIN_INDEX, RIGHT, NEW, WRONG)
    shutil.copytree(tmp_path / "new", directory, dirs_exist_ok=True)
    assert log_on(NEW).code == 0


def test_files_from_before_a_tpm_kept_the_pin_are_what_they_were(
    enrolled_machine: EventInstance, swtpm: Swtpm, tmp_path: Path
) -> None:
    """The page says so: who put the old files back has the old PIN's protector, a file."""
    directory = enrolled_machine.instance.containers / str(UID)
    swtpm.power_off()
    assert passport("enroll", RIGHT).code == 0
    shutil.copytree(directory, tmp_path / "old")
    swtpm.boot()
    assert passport("change-pin", RIGHT, NEW).code == 0
    assert keyiso("passport", "status", "--json").json["protector"] == "tpm"
    shutil.copytree(tmp_path / "old", directory, dirs_exist_ok=True)

    told = keyiso("passport", "status", "--json").json
    assert (told["protector"], "rollback" in told["not_stopped"]) == ("software", True)
    assert log_on(RIGHT).code == 0


# --- a copy of the disk -------------------------------------------------------------------------


@contextmanager
def started_from_a_copy(machine: RunningInstance, home: Path) -> Iterator[Instance]:
    """Services on a copy of all that a machine had on its disk when it was off: the store, the
    containers, the root's file."""
    copy = RunningInstance(home)
    shutil.copytree(machine.instance.state, copy.instance.state)
    with in_use(copy):
        yield copy.instance


@contextmanager
def booted(swtpm: Swtpm) -> Iterator[None]:
    try:
        swtpm.boot()
        yield
    finally:
        swtpm.power_off()


def tells_by_itself(record: ContainerRecord, text: str) -> bool:
    """Whether a container's secret opens with what a PIN and the record give, without a TPM."""
    protector = record.software or record.tpm
    assert protector is not None
    key = stretched(pin(text), protector.salt, protector.cost)
    if isinstance(protector, SoftwareProtector):
        blobs = [protector.wrapped]
    else:
        sealed = decode_pin_sealed(protector.under_pin).sealed
        blobs = [protector.under_pin, sealed.private, protector.writer]
    for blob in (*blobs, record.history, record.secret_check, record.copy):
        with suppress(NCryptError):
            unwrapped_secret(container_of(UID), key, blob)
            return True
    return False


def test_a_copy_of_the_disk_has_nothing_to_try_a_pin_against(
    machine: EventInstance, swtpm: Swtpm, tmp_path: Path
) -> None:
    """Neither without a TPM nor with another one."""
    machine.end()
    swtpm.power_off()
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Swtpm(tmp_path / "elsewhere")
    with started_from_a_copy(machine, tmp_path / "copy") as copy, booted(elsewhere):
        enrolment = decode_enrolment(copy.vbs_enrolment.read_bytes())
        moved = msgspec.structs.replace(enrolment, tpm=f"unix:{elsewhere.socket}")
        for found, status in (
            (encode_enrolment(enrolment), Status.NTE_DEVICE_NOT_FOUND),
            (encode_enrolment(moved), Status.KEYISO_E_TPM_CHANGED),
            (enrolment_with(elsewhere), Status.KEYISO_E_TPM_CHANGED),
        ):
            copy.vbs_enrolment.write_bytes(found)
            for text in (RIGHT, WRONG):
                assert status.name in log_on(text).errors
                with fails(status):
                    try_pin(bind_process(os.environ, service="passport"), pin(text))
                assert not tells_by_itself(record_of(copy, UID), text)
    swtpm.boot()
    machine.start()
    assert attempts_left() == 5
    assert log_on(RIGHT).code == 0


def test_a_copy_of_the_disk_tells_the_pin_that_only_a_file_protects(
    instance: RunningInstance, tmp_path: Path
) -> None:
    """As the page says: this is what the TPM is for."""
    assert passport("enroll", RIGHT).code == 0
    instance.end()
    for number in range(2):
        with started_from_a_copy(instance, tmp_path / f"copy {number}") as copy:
            assert not tells_by_itself(record_of(copy, UID), WRONG)
            assert tells_by_itself(record_of(copy, UID), RIGHT)
            assert log_on(WRONG).code == 1
            assert attempts_left() == 4
            assert log_on(RIGHT).code == 0
