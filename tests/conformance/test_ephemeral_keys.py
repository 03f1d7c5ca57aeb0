"""Ephemeral keys come to an end: by their handle, with their client, with their boot.

What is remembered of them is bounded, however many are made.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from keyiso import EphemeralKeyGoneError, Key
from keyiso.status import Status
from keyiso.wire.control import Created, CreateKey, DeleteKey, OpenEphemeral, ReleaseEphemeral
from keyiso.wire.messages import Call
from keyiso.wire.results import Done
from tests.child import child
from tests.conformance.raw_client import PROVIDER, RawClient, message, terms, units
from tests.conformance.ready import wait_for_workers
from tests.conformance.statuses import fails
from tests.instance import RunningInstance
from tests.limited import limited_instance
from tests.waiting import wait_until

DATA = b"data"
WORKERS = ("software-0", "software-1", "software-generator")
MOST = 5
GRACE = 0.4


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[RunningInstance]:
    """An instance whose users have few ephemeral keys, and which soon looks who has ended."""
    settings = (f"EPHEMERALS_PER_USER={MOST}", f"EPHEMERAL_GRACE_SECONDS={GRACE}")
    with limited_instance(tmp_path / "home", *settings) as running:
        wait_for_workers(running)
        yield running


def works(key: Key) -> None:
    key.verify(key.sign(DATA), DATA)


def rows(path: Path, table: str) -> int:
    """How many rows a table of a database has, while its service runs."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        ((count,),) = connection.execute(f"SELECT count(*) FROM {table}")
        return int(count)


def alive(instance: RunningInstance) -> int:
    (path,) = instance.instance.ephemerals.glob("*.sqlite3")
    return rows(path, "ephemerals")


def revocations(instance: RunningInstance) -> int:
    return rows(instance.instance.store, "revocations")


def several_graces(instance: RunningInstance) -> None:
    """Wait until the service has looked again and again: a stranger's key goes at one look."""
    for _ in range(2):
        before = alive(instance)
        subprocess.run(
            [sys.executable, "-c", "from keyiso import Key\nkey = Key.create(None, 'AES')"],
            env=instance.environ,
            check=True,
        )
        wait_until(partial(_so_many_are_alive, instance, before), "the end of a stranger's key")


def _so_many_are_alive(instance: RunningInstance, count: int) -> bool:
    return alive(instance) == count


# --- their number ------------------------------------------------------------------------------


def test_a_user_has_only_so_many(instance: RunningInstance) -> None:
    keys = [Key.create(None, "ECDSA_P256") for _ in range(MOST)]

    with fails(Status.KEYISO_E_LIMIT) as caught:
        Key.create(None, "ECDSA_P256")
    assert f"EPHEMERALS_PER_USER ({MOST})" in caught.value.cause

    for key in keys:
        works(key)
    works(Key.create("stored", "ECDSA_P256"))
    keys.pop().close()
    works(Key.create(None, "ECDSA_P256"))


def test_making_and_freeing_leaves_nothing(instance: RunningInstance) -> None:
    """In no store, for no length of time."""
    for _ in range(20 * MOST):
        with Key.create(None, "ECDSA_P256") as key:
            works(key)

    assert alive(instance) == 0
    assert not instance.instance.store.exists()


def test_making_and_deleting_leaves_nothing(instance: RunningInstance) -> None:
    """What the last change left goes with the next one."""
    for number in range(50):
        Key.create(f"key {number}", "ECDSA_P256").delete()
        Key.create("overwritten", "ECDSA_P256", overwrite=True)
    Key.create("another", "ECDSA_P256")

    assert revocations(instance) <= 1


# --- their end ---------------------------------------------------------------------------------


def test_freed_is_freed_also_when_the_service_is_killed(instance: RunningInstance) -> None:
    path = instance.instance.control_socket
    group = os.urandom(16)
    with RawClient.bound(path, group) as client:
        kept, freed = (client.call(CreateKey(terms())) for _ in range(2))
        assert client.call(ReleaseEphemeral(freed.blob)) == Done()
        instance.kill("keyiso", *WORKERS)
    wait_for_workers(instance)

    with RawClient.bound(path, group) as client:
        _, attached = client.attach()

        def opening(created: Created) -> OpenEphemeral:
            return OpenEphemeral(created.blob, attached.channel_id, attached.worker_instance)

        assert client.status(opening(freed)) == Status.KEYISO_E_EPHEMERAL_GONE
        assert client.call(opening(kept)).header == kept.header
        assert client.call(ReleaseEphemeral(freed.blob)) == Done()


ANOTHER_PROCESS = """
import sys
from keyiso import Key
keys = [Key.create(None, "ECDSA_P256") for _ in range(3)]
print("made", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("meanwhile", ["", "keyiso"], ids=["", "after a restart of the service"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_ends_takes_its_keys_with_it(
    instance: RunningInstance, how: signal.Signals, meanwhile: str
) -> None:
    """It need not free them, nor be asked."""
    with Key.create(None, "ECDSA_P256") as mine:
        with child(
            [sys.executable, "-c", ANOTHER_PROCESS],
            env=instance.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdout.readline() == b"made\n"
            assert alive(instance) == 4
            process.send_signal(how)
        if meanwhile:
            instance.kill(meanwhile)

        wait_until(lambda: alive(instance) == 1, "the end of the process's keys")
        works(mine)
        assert len([Key.create(None, "ECDSA_P256") for _ in range(MOST - 1)]) == MOST - 1


def test_a_client_that_does_not_notice_a_restart_keeps_its_keys(instance: RunningInstance) -> None:
    """It has no connection then for as long as it does nothing, and is alive all the same."""
    key = Key.create(None, "ECDSA_P256")
    works(key)
    instance.kill("keyiso")
    several_graces(instance)
    instance.kill(*WORKERS)

    works(key)


def test_a_client_that_closed_its_connection_keeps_its_keys(instance: RunningInstance) -> None:
    group = os.urandom(16)
    with RawClient.bound(instance.instance.control_socket, group) as client:
        created = client.call(CreateKey(terms()))
    several_graces(instance)

    with RawClient.bound(instance.instance.control_socket, group) as client:
        _, attached = client.attach()
        opening = OpenEphemeral(created.blob, attached.channel_id, attached.worker_instance)
        assert client.call(opening).header == created.header


@pytest.mark.parametrize("used", [True, False], ids=["used by the child", "not used yet"])
def test_a_child_keeps_the_keys_of_a_parent_that_has_ended(
    instance: RunningInstance, used: bool
) -> None:
    """As a service does that puts itself into the background."""
    go_on, told = os.pipe(), os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            key = Key.create(None, "ECDSA_P256")
            works(key)
            if os.fork() == 0:
                if used:
                    works(key)
                os.write(told[1], b"c")
                os.read(go_on[0], 1)
                works(key)
                os.write(told[1], b"w")
                key.close()
            os._exit(0)
        except BaseException:
            os._exit(1)
    try:
        assert os.read(told[0], 1) == b"c"
        assert os.waitpid(parent, 0)[1] == 0
        several_graces(instance)
        os.write(go_on[1], b"g")
        assert os.read(told[0], 1) == b"w"
        wait_until(lambda: alive(instance) == 0, "the end of the key that was closed")
    finally:
        for end in (*go_on, *told):
            os.close(end)


def test_binding_under_another_group_leaves_the_first_one(instance: RunningInstance) -> None:
    """The keys of the first are alive for as long as its process is."""
    with RawClient.bound(instance.instance.control_socket) as client:
        client.call(CreateKey(terms()))
        several_graces(instance)

        assert alive(instance) == 1


# --- trouble -----------------------------------------------------------------------------------


def test_a_list_that_is_damaged_is_an_error_of_its_own(instance: RunningInstance) -> None:
    """Stored keys do not need it; and without the file there is a new list."""
    stored = Key.create("stored", "ECDSA_P256")
    ephemeral = Key.create(None, "ECDSA_P256")
    works(ephemeral)
    instance.end()
    (path,) = instance.instance.ephemerals.glob("*.sqlite3")
    path.write_bytes(b"no database" * 100)
    instance.start()

    works(stored)
    for action in (lambda: Key.create(None, "ECDSA_P256"), lambda: ephemeral.sign(DATA)):
        with fails(Status.KEYISO_E_STORE) as caught:
            action()
        assert str(path) in caught.value.cause

    path.unlink()
    with pytest.raises(EphemeralKeyGoneError):
        ephemeral.sign(DATA)
    works(Key.create(None, "ECDSA_P256"))


def test_what_a_killed_service_did_not_revoke_the_next_one_does(instance: RunningInstance) -> None:
    """A worker that does not answer keeps the delete from returning; its service is killed."""
    key, other = Key.create("web", "ECDSA_P256"), Key.create("other", "ECDSA_P256")
    works(key)
    works(other)
    pids = [instance.pid_of(worker) for worker in WORKERS]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with RawClient.bound(instance.instance.control_socket) as client:
            key_id = bytes.fromhex(key.unique_name)
            delete = DeleteKey(os.urandom(16), PROVIDER, "user", units("web"), key_id)
            client.send(message(Call(1000, delete)))
            wait_until(lambda: revocations(instance) == 1, "the commit of the delete")
            instance.kill("keyiso")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    with fails(Status.NTE_BAD_KEYSET):
        key.sign(DATA)
    works(other)
    Key.create("another", "ECDSA_P256")
    assert revocations(instance) <= 1
    Key.create("yet another", "ECDSA_P256")
    assert revocations(instance) == 0
