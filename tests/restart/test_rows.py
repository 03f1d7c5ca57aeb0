"""Rows of the table in docs/architecture.md that need more than a kill: what broke, and what the
application sees. Kills are `test_machine`'s."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from keyiso import (
    EphemeralKeyGoneError,
    Key,
    KeyNotFoundError,
    ServiceUnavailableError,
)
from keyiso.client.connection import Connection, connect
from keyiso.router import process_router
from keyiso.wire.link import GetWorkerStatus, Revoke
from tests.instance import RunningInstance

DATA = b"what the application signs"
WORKERS = ("software-0", "software-1", "software-generator")


def works(key: Key) -> None:
    key.verify(key.sign(DATA), DATA)


def boot_root_of(instance: RunningInstance) -> Path:
    (root,) = instance.instance.software_boot_roots.iterdir()
    return root


def link_to(instance: RunningInstance, worker: str) -> Connection:
    """A link to a worker, as the KeyIso service has one: in one's own instance, the same user."""
    path = instance.instance.workers / f"{worker}.sock"
    connection = Connection(
        connect(path, frozenset({os.geteuid()}), 10), worker, frame_bytes=1 << 20
    )
    connection.greet(10)
    return connection


def test_key_channels_work_while_the_keyiso_service_does_not(instance: RunningInstance) -> None:
    key = Key.create("web", "ECDSA_P256")
    works(key)
    keyiso = instance.pid_of("keyiso")
    os.kill(keyiso, signal.SIGSTOP)
    try:
        works(key)
    finally:
        os.kill(keyiso, signal.SIGCONT)


def test_an_evicted_key_is_loaded_again(instance: RunningInstance) -> None:
    key = Key.create("web", "ECDSA_P256")
    works(key)
    for worker in ("software-0", "software-1"):
        link = link_to(instance, worker)
        link.call(Revoke((bytes.fromhex(key.unique_name),)), trace="", hops=(), timeout=60)
        status = link.call(GetWorkerStatus(), trace="", hops=(), timeout=60)
        assert status.loaded_keys == 0
        link.close()

    works(key)


def test_the_client_starts_an_instance_that_was_never_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYISO_HOME", str(tmp_path / "home"))
    process_router.cache_clear()
    instance = RunningInstance(tmp_path / "home")
    try:
        works(Key.create("web", "ECDSA_P256"))
    finally:
        process_router.cache_clear()
        instance.end()


def test_an_instance_under_a_long_home_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of a Unix socket has 108 bytes; a home may be longer."""
    home = tmp_path.joinpath(*("a-directory-with-a-long-name",) * 6)
    assert len(os.fspath(home)) > 150
    monkeypatch.setenv("KEYISO_HOME", str(home))
    process_router.cache_clear()
    instance = RunningInstance(home)
    try:
        works(Key.create("web", "ECDSA_P256"))
    finally:
        process_router.cache_clear()
        instance.end()


def test_when_the_boot_is_over_ephemeral_keys_say_that_they_are_gone(
    instance: RunningInstance,
) -> None:
    persisted = Key.create("web", "ECDSA_P256")
    ephemeral = Key.create(None, "ECDSA_P256")
    works(ephemeral)
    instance.end()
    boot_root_of(instance).unlink()  # what a reboot does to a tmpfs
    instance.start()

    works(persisted)
    with pytest.raises(EphemeralKeyGoneError) as caught:
        ephemeral.sign(DATA)
    assert [hop.service for hop in caught.value.chain][:2] == ["application", "keyiso"]


def test_a_boot_root_of_another_boot_is_not_used(instance: RunningInstance) -> None:
    """Where the runtime directory is not a tmpfs, the boot's root must still end with it."""
    ephemeral = Key.create(None, "ECDSA_P256")
    instance.end()
    old = boot_root_of(instance)
    old.rename(old.with_name("boot-root-" + "00" * 16))
    instance.start()

    with pytest.raises(EphemeralKeyGoneError):
        ephemeral.sign(DATA)
    assert boot_root_of(instance) == old, "the root of the other boot is still there"


def test_a_replaced_key_is_never_mistaken_for_its_successor(instance: RunningInstance) -> None:
    old = Key.create("web", "ECDSA_P256")
    works(old)
    new = Key.create("web", "ECDSA_P256", overwrite=True)

    with pytest.raises(KeyNotFoundError, match="replaced by another one"):
        old.sign(DATA)
    works(new)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_process_that_gave_up_its_rights_has_none_left(
    instance: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the first restart would change who it is."""
    Key.create("web", "ECDSA_P256").close()
    monkeypatch.setenv("KEYISO_DEADLINE", "2")  # now that all services are there
    process_router.cache_clear()
    key = Key.open("web")
    works(key)
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            key.sign(DATA)
        except ServiceUnavailableError:
            os._exit(0)  # it does not even find the home of the other user
        except BaseException:
            os._exit(2)
        os._exit(1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    works(key)


def test_threads_share_one_binding_through_a_restart(instance: RunningInstance) -> None:
    key = Key.create("web", "ECDSA_P256")
    failures: list[BaseException] = []
    begun = threading.Barrier(9)

    def sign() -> None:
        try:
            begun.wait()
            for _ in range(200):
                works(key)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=sign) for _ in range(8)]
    for thread in threads:
        thread.start()
    begun.wait()
    instance.kill("keyiso", *WORKERS)
    for thread in threads:
        thread.join()

    assert failures == []
    channels = 0
    for worker in ("software-0", "software-1"):
        link = link_to(instance, worker)
        channels += link.call(GetWorkerStatus(), trace="", hops=(), timeout=60).channels
        link.close()
    assert channels <= 2, "one process has no more channels than there are workers"


def test_after_the_deadline_the_error_names_the_chain(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, where a directory is needed")
    program = "from keyiso import Key; Key.open('web')"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KEYISO_HOME": str(tmp_path / "home"), "KEYISO_DEADLINE": "0.5"},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert "ServiceUnavailableError: KEYISO_E_SERVICE_UNAVAILABLE" in ended.stderr
    assert "Way: keyiso[0]" in ended.stderr
