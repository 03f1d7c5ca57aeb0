"""``keyiso tpm reseal``: stored keys move to the newest machine root."""

import random
import sqlite3
import threading
from collections.abc import Iterator

import pytest

from keyiso import Key, Protection, ncrypt
from keyiso.client.binding import bind_process
from keyiso.client.resealing import reseal_keys
from keyiso.client.retry import RetryPolicy
from keyiso.crypto.key_blob import read_header
from keyiso.flags import NCRYPT_PERSIST_FLAG
from keyiso.identifiers import NCRYPT_CERTIFICATE_PROPERTY
from keyiso.status import Status
from tests.cli.command import keyiso
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.roots.machine import EnrolledMachine
from tests.vbs.serving import instance_on
from tests.waiting import wait_until

PROPERTY = "Friendly"
CERTIFICATE = b"c" * 5000
MANY = 70
"""More than two pages."""


@pytest.fixture
def running(machine: EnrolledMachine) -> Iterator[RunningInstance]:
    """On a machine where nothing is enrolled yet; tests start it."""
    with instance_on(machine, "--workers=1") as running:
        yield running


def stored(name: str, *, machine: bool = False, per_boot: bool = False) -> Key:
    return Key.create(
        name,
        "ECDSA_P256",
        protection=Protection.REQUIRE_VBS,
        machine=machine,
        per_boot=per_boot,
        overwrite=True,
    )


def put(key: Key, name: str, value: bytes) -> None:
    ncrypt.NCryptSetProperty(key.handle, name, value, NCRYPT_PERSIST_FLAG)


def got(key: Key, name: str = PROPERTY) -> bytes:
    return bytes(ncrypt.NCryptGetProperty(key.handle, name))


def signs(key: Key) -> None:
    key.verify(key.sign(b"data"), b"data")


def roots_of(running: RunningInstance) -> dict[str, bytes]:
    """The roots that seal the stored machine-sealed ``vbs`` keys, by the keys' names."""
    with sqlite3.connect(f"file:{running.instance.store}?mode=ro", uri=True) as store:
        headers = [read_header(blob) for (blob,) in store.execute("SELECT blob FROM keys")]
    return {
        header.name.decode("utf-16-le"): header.root_id
        for header in headers
        if header.level == "vbs" and header.root_kind == "machine"
    }


def newest(machine: EnrolledMachine) -> bytes:
    return machine.enrolment.newest.root_id


def test_keys_move_with_their_properties_and_old_roots_can_go(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    loaded, other = stored("loaded"), stored("of the machine", machine=True)
    put(loaded, PROPERTY, b"first")
    put(loaded, NCRYPT_CERTIFICATE_PROPERTY, CERTIFICATE)
    with stored("per boot", per_boot=True) as per_boot, Key.create("soft", "ECDSA_P256") as soft:
        machine.run("tpm", "rotate")
        told = machine.run("tpm", "reseal", "--json").json  # pairs are replaced just now
        assert (told["resealed"] + told["already"], told["failed"]) == (2, [])
        assert told["root"] == newest(machine).hex()
        assert set(roots_of(running).values()) == {newest(machine)}
        for key in (loaded, other, per_boot, soft):
            signs(key)
        stored("new").close()
        told = machine.run("tpm", "reseal", "--json").json
        assert (told["resealed"], told["already"]) == (0, 3)
    running.end()
    machine.run("tpm", "retire", "--yes")
    assert len(machine.enrolment.roots) == 1
    running.start()
    with Key.open("loaded") as again:
        assert again.unique_name == loaded.unique_name
        signs(again)
        assert got(again) == b"first"
        assert got(again, NCRYPT_CERTIFICATE_PROPERTY) == CERTIFICATE
    signs(loaded)
    signs(other)


def test_where_roots_are_given_out_once_it_needs_no_tpm_any_more(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol("--unseal", "once-per-boot")
    running.start()
    with stored("kept") as key:
        running.end()
        machine.tpm.reboot()
        machine.run("tpm", "rotate")
        running.start()
        signs(key)
        wait_until(
            lambda: machine.run("tpm", "status", "--json").json["state"] == "latched", "the latch"
        )
        assert machine.run("tpm", "reseal", "--json").json["resealed"] == 1
        assert roots_of(running) == {"kept": newest(machine)}
        signs(key)


def test_keys_are_used_all_the_while(machine: EnrolledMachine) -> None:
    """Three pairs are replaced one after the other, so that some of them lack the newest root."""
    machine.enrol()
    failures: list[BaseException] = []
    done = threading.Event()
    keys = [f"key {number}" for number in range(20)]

    def use() -> None:
        try:
            while not done.is_set():
                for name in keys:
                    with Key.open(name) as key:
                        signs(key)
                        assert got(key) == name.encode()
        except BaseException as error:
            failures.append(error)

    with instance_on(machine, "--workers=2") as running:
        running.start()
        for name in keys:
            with stored(name) as key:
                put(key, PROPERTY, name.encode())
        thread = threading.Thread(target=use)
        thread.start()
        try:
            for _ in range(2):
                machine.run("tpm", "rotate")
                told = machine.run("tpm", "reseal", "--json").json
                assert (told["resealed"] + told["already"], told["failed"]) == (len(keys), [])
                assert roots_of(running) == dict.fromkeys(keys, newest(machine))
        finally:
            done.set()
            thread.join()
        assert failures == []


def test_keys_of_this_boot_outlive_a_rotation_and_all_processes(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    """The boot root is kept anew, under the newest machine root, by those who have both."""
    machine.enrol()
    running.start()
    with stored("per boot", per_boot=True) as key:
        machine.run("tpm", "rotate")
        machine.run("tpm", "reseal")  # all pairs have been replaced
        signs(key)
        running.end()
        machine.run("tpm", "retire", "--yes")
        running.start()
        signs(key)


def test_how_roots_are_given_out_is_not_changed_while_some_are_out(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    with stored("kept") as key:
        assert "KEYISO_E_STORE" in machine.fails("tpm", "rotate", "--unseal", "once-per-boot")
        machine.run("tpm", "rotate", "--unseal", "any-start")  # as it is
        running.end()
        machine.run("tpm", "rotate", "--unseal", "once-per-boot")
        assert machine.enrolment.unseal == "once-per-boot"
        running.start()
        signs(key)


def test_a_damaged_key_is_named_and_keeps_no_other_one(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    with stored("damaged"), stored("whole"):
        pass
    machine.run("tpm", "rotate")
    running.end()
    with sqlite3.connect(running.instance.store) as store:
        damaged = "damaged".encode("utf-16-le")
        (blob,) = store.execute("SELECT blob FROM keys WHERE name = ?", (damaged,)).fetchone()
        blob = blob[:-1] + bytes([blob[-1] ^ 1])
        store.execute("UPDATE keys SET blob = ? WHERE name = ?", (blob, damaged))
    store.close()
    running.start()

    ended = keyiso("tpm", "reseal")

    assert ended.code == 1
    assert "'damaged', of uid" in ended.errors and "NTE_BAD_DATA" in ended.errors
    assert roots_of(running)["whole"] == newest(machine)


def test_changes_and_kills_meanwhile_lose_nothing(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    """Keys are changed, replaced and deleted, and services killed, while keys are sealed anew."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chosen = random.Random(seed)
    machine.enrol()
    running.start()
    keys = {f"key {number}": stored(f"key {number}") for number in range(MANY)}
    for name, key in keys.items():
        put(key, PROPERTY, name.encode())
    machine.run("tpm", "rotate")
    values = {name: name.encode() for name in keys}
    done = threading.Event()
    failures: list[BaseException] = []

    def change() -> None:
        try:
            while not done.is_set():
                name = chosen.choice(sorted(keys))
                match chosen.choice(("set", "replace", "delete")):
                    case "set":
                        values[name] = chosen.randbytes(8)
                        put(keys[name], PROPERTY, values[name])
                    case "replace":
                        keys[name] = stored(name)
                        put(keys[name], PROPERTY, values[name])
                    case "delete" if len(keys) > MANY // 2:
                        keys.pop(name).delete()
                        del values[name]
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        first = machine.run("tpm", "reseal", "--json").json
        machine.run("tpm", "rotate")
        running.kill("keyiso")
        second = machine.run("tpm", "reseal", "--json").json
    finally:
        done.set()
        thread.join()

    assert failures == []
    assert first["failed"] == second["failed"] == []
    last = machine.run("tpm", "reseal", "--json").json
    assert last["resealed"] + last["already"] == len(keys)
    assert roots_of(running) == dict.fromkeys(keys, newest(machine))
    for name, key in keys.items():
        signs(key)
        assert got(key) == values[name], name


def test_a_root_that_the_workers_have_not_got_is_told(
    machine: EnrolledMachine, running: RunningInstance
) -> None:
    machine.enrol()
    running.start()
    with stored("kept") as key:
        before = roots_of(running)
        signs(key)
        hasty = bind_process(running.environ, policy=RetryPolicy(deadline=0))
        with fails(Status.KEYISO_E_SERVICE_UNAVAILABLE) as failed:
            list(reseal_keys(hasty, b"another root id "))
        assert "has not got the root" in failed.value.cause
        assert "restart keyiso" in failed.value.action
        assert roots_of(running) == before
        signs(key)
