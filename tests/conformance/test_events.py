"""The event log of a running instance: what is recorded, of whom, and that it hinders nobody."""

import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import AccessRule, Key, KeyUsage, NCryptError, ncrypt
from keyiso.client.binding import bind_process
from keyiso.flags import NCRYPT_PERSIST_FLAG
from keyiso.paths import client_instance
from keyiso.router import process_router
from keyiso.status import Status
from keyiso.wire.control import (
    CreateKey,
    DeleteKey,
    GetServiceStatus,
    OpenEphemeral,
    ServiceStatus,
    SetEventChannel,
)
from tests.conformance.raw_client import PROVIDER, RawClient, terms, units
from tests.event_log import EventInstance, event_instance
from tests.journal import fields

DATA = b"data"
WORKERS = ("software-0", "software-1", "software-generator")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[EventInstance]:
    """A running instance that this process uses."""
    with pytest.MonkeyPatch.context() as patch, event_instance(tmp_path / "home") as running:
        patch.setenv("KEYISO_HOME", str(running.home))
        runtime = running.instance.runtime
        process_router.cache_clear()
        Key.create(None, "ECDSA_P256").close()  # all services are there
        yield running
        process_router.cache_clear()
    shutil.rmtree(runtime, ignore_errors=True)


def refused(work: Callable[[], object]) -> int:
    """The status of something that must fail."""
    with pytest.raises(NCryptError) as caught:
        work()
    return caught.value.status


def switch(channel: str, level: int) -> None:
    bind_process(os.environ).control(SetEventChannel(channel, level))


def service_status() -> ServiceStatus:
    return bind_process(os.environ).control(GetServiceStatus())


def cannot_sign(name: str) -> Key:
    return Key.create(name, "RSA", usage=KeyUsage.DECRYPT)


# --- uses that fail ----------------------------------------------------------------------------


def test_a_use_that_fails_is_event_1(instance: EventInstance) -> None:
    with cannot_sign("we\x1bb") as key:
        assert refused(lambda: key.sign(DATA)) == Status.NTE_PERM
        unique_name = key.unique_name
    found = instance.event(event_id=1)

    assert found["data"] == {
        "OperationType": 0x10,
        "ProviderName": PROVIDER,
        "KeyName": r"we\x1bb",
        "KeyType": "user",
        "AlgorithmName": "RSA",
        "Status": Status.NTE_PERM,
        "ProcessName": os.path.basename(sys.argv[0]),
    }
    assert (found["uid"], found["pid"]) == (os.geteuid(), os.getpid())
    assert (found["function"], found["key_id"]) == ("Sign", unique_name)
    assert (found["count"], found["failures"], found["successes"]) == (1, 1, 0)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", found["trace"])


def test_every_function_that_uses_a_key_is_recorded(instance: EventInstance) -> None:
    rsa = Key.create("rsa", "RSA", usage=KeyUsage.SIGN)
    aes = Key.create("aes", "AES")
    ecdh = Key.create("ecdh", "ECDH_P256", usage=KeyUsage.SIGN)
    peer = ec.generate_private_key(ec.SECP256R1()).public_key()
    encrypted = aes.encrypt(DATA)
    refused(lambda: ecdh.sign(DATA))
    refused(lambda: rsa.decrypt(bytes(256)))
    refused(lambda: aes.decrypt(encrypted[:-1] + bytes([encrypted[-1] ^ 1])))
    refused(lambda: rsa.export())
    refused(lambda: ecdh.agree(peer))
    sealed = Key.create("sealed", "AES", usage=KeyUsage.SIGN)
    refused(lambda: sealed.encrypt(DATA))
    expected = {"Sign", "Decrypt", "Decipher", "ExportPrivate", "Derive", "Encipher"}

    assert instance.until(
        lambda: {line["function"] for line in instance.events(event_id=1)} == expected
    )


def test_successes_are_counted_and_told_with_the_next_failure(instance: EventInstance) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        for _ in range(25):
            key.sign(DATA)
        refused(lambda: key.sign_digest(b""))
    found = instance.event(event_id=1)

    assert (found["count"], found["failures"], found["successes"]) == (1, 1, 25)
    with Key.open("web") as key:
        refused(key.export)
    assert instance.event(event_id=1, function="ExportPrivate")["successes"] == 0


def test_equal_failures_are_one_record_and_none_is_forgotten(instance: EventInstance) -> None:
    with cannot_sign("web") as key, cannot_sign("other") as other:
        refused(lambda: key.sign(DATA))
        instance.event(event_id=1, name="web")
        for _ in range(199):
            refused(lambda: key.sign(DATA))
        refused(lambda: other.sign(DATA))
    instance.event(event_id=1, name="other")  # the last batch was taken
    os.kill(instance.pid_of("keyiso"), signal.SIGTERM)  # what it holds back is recorded then
    instance.until(
        lambda: sum(line["count"] for line in instance.events(event_id=1, name="web")) == 200
    )

    assert len(instance.events(event_id=1, name="web")) < 20


def test_a_new_keyiso_service_knows_whose_channels_there_are(instance: EventInstance) -> None:
    """What a worker tells has the names, so that no restart of KeyIso loses them."""
    with cannot_sign("web") as key:
        refused(lambda: key.sign(DATA))
        instance.event(event_id=1)
        before = instance.events(event_id=1)
        instance.kill("keyiso")
        refused(lambda: key.sign(DATA))
    instance.until(lambda: len(instance.events(event_id=1)) > len(before))
    first, *_, last = instance.events(event_id=1)

    assert last["data"] == first["data"]
    assert (last["uid"], last["pid"]) == (first["uid"], first["pid"])


def test_a_new_worker_is_asked_too(instance: EventInstance) -> None:
    with cannot_sign("web") as key:
        instance.kill(*WORKERS)
        refused(lambda: key.sign(DATA))
    instance.event(event_id=1, name="web")


def test_what_the_client_mends_itself_is_no_event(instance: EventInstance) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        key.sign(DATA)
        instance.kill("keyiso", *WORKERS)
        key.sign(DATA)
        refused(lambda: key.sign_digest(b""))
    instance.event(event_id=1)

    assert [line["event_id"] for line in instance.events()] == [21, 1]


def test_a_worker_says_that_it_counts(instance: EventInstance) -> None:
    """One of an older version would hang up on the question."""
    for worker in instance.instance.workers.glob("software-*.sock"):
        with RawClient.at(worker) as link:
            passport = ("passport",) if worker.stem == "software-generator" else ()
            assert link.hello().features == ("uses", "channels", *passport)
    with RawClient.at(instance.instance.control_socket) as control:
        assert control.hello().features == ("bindings", "passport", "reseal")


def test_status_has_the_counts_of_each_worker(instance: EventInstance) -> None:
    with cannot_sign("web") as bad, Key.create("good", "ECDSA_P256") as good:
        for _ in range(3):
            refused(lambda: bad.sign(DATA))
            good.sign(DATA)
    workers = service_status().workers

    assert sum(worker.operations for worker in workers) == 6
    assert sum(worker.failures for worker in workers) == 3
    assert sum(worker.lost for worker in workers) == 0


# --- providers that do not open ----------------------------------------------------------------


@pytest.fixture
def provider_file(instance: EventInstance) -> Callable[[str, str], None]:
    def write(name: str, text: str) -> None:
        directory = instance.home / "config" / "providers.d"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.toml").write_text(text)

    return write


def test_a_provider_that_does_not_open_is_event_2(
    instance: EventInstance, provider_file: Callable[[str, str], None]
) -> None:
    """The client's own word, and marked as such."""
    provider_file("Missing", 'image = "keyiso_no_such_module"')
    for name, status in (("No\x1b\ne", "NTE_NOT_FOUND"), ("Missing", "NTE_PROV_DLL_NOT_FOUND")):
        printed = name.replace("\x1b", r"\x1b").replace("\n", r"\n")

        def found(name: str = name, printed: str = printed) -> list[dict[str, Any]]:
            # Each try may find the service busy; then nobody hears of it.
            refused(lambda: ncrypt.NCryptOpenStorageProvider(name))
            lines = instance.events(event_id=2)
            return [line for line in lines if line["data"]["ProviderName"] == printed]

        line = instance.until(found)[0]
        assert line["data"]["Status"] == Status[status]
        assert line["data"]["ProcessName"] == os.path.basename(sys.argv[0])
        assert line["reported_by"] == "client"
        assert (line["uid"], line["pid"]) == (os.geteuid(), os.getpid())


def test_reporting_a_provider_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("KEYISO_HOME", str(home))
    process_router.cache_clear()

    assert refused(lambda: ncrypt.NCryptOpenStorageProvider("none")) == Status.NTE_NOT_FOUND

    process_router.cache_clear()
    assert not home.exists()


def test_a_service_that_hangs_does_not_keep_the_error(instance: EventInstance) -> None:
    keyiso = instance.pid_of("keyiso")
    os.kill(keyiso, signal.SIGSTOP)
    try:
        assert refused(lambda: ncrypt.NCryptOpenStorageProvider("none")) == Status.NTE_NOT_FOUND
    finally:
        os.kill(keyiso, signal.SIGCONT)


@pytest.mark.parametrize("answer", [b"", b"\xff" * 100, b"\x04\0\0\0\xff\xff\xff\xff"])
def test_whoever_listens_there_the_error_is_the_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """Nobody, somebody who hangs up or says nonsense: reporting adds no error of its own."""
    home = tmp_path / "home"
    home.mkdir()
    runtime = Path(tempfile.mkdtemp(prefix="keyiso-", dir="/tmp"))
    (home / "runtime").symlink_to(runtime)
    monkeypatch.setenv("KEYISO_HOME", str(home))
    process_router.cache_clear()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(client_instance(os.environ).control_socket))
        listening.listen()

        def serve() -> None:
            connected, _ = listening.accept()
            connected.recv(65536)
            connected.sendall(answer)
            connected.close()

        server = threading.Thread(target=serve)
        server.start()
        assert refused(lambda: ncrypt.NCryptOpenStorageProvider("none")) == Status.NTE_NOT_FOUND
        server.join()
    process_router.cache_clear()
    shutil.rmtree(runtime)


# --- keys that are opened, made and deleted ----------------------------------------------------


def test_the_log_says_how_a_key_lived(instance: EventInstance) -> None:
    switch("Operational", 5)
    refused(lambda: Key.open("web"))
    refused(lambda: Key.create("web", "RSA", length=1))
    Key.create("web", "ECDSA_P256").close()
    refused(lambda: Key.create("web", "ECDSA_P256"))
    with Key.create("web", "ECDSA_P256", overwrite=True) as key:
        unique_name = key.unique_name
    Key.open("web").delete()
    lines = [line for line in instance.events() if line["event_id"] != 1000]

    assert [line["event_id"] for line in lines] == [3, 9, 21, 9, 21, 11, 22]
    assert {line["data"]["KeyName"] for line in lines} == {"web"}
    assert [line["data"].get("KeyModificationType") for line in lines[1:5]] == [1, 1, 2, 2]
    assert {line["data"]["KeyFileName"] for line in lines[3:]} == {unique_name}
    assert all(line["data"]["ThreadId"] == 0 for line in lines[1:])
    assert all(line["data"]["ServiceTag"] == "" for line in lines[1:])


def test_the_log_says_how_a_key_was_changed(instance: EventInstance) -> None:
    key = Key.create("web", "ECDSA_P256")
    ncrypt.NCryptSetProperty(key.handle, "Note", b"a secret note", NCRYPT_PERSIST_FLAG)
    key.set_access(key.access)
    assert refused(lambda: key.set_access(())) == Status.NTE_INVALID_PARAMETER
    Key.open("web").delete()
    assert refused(lambda: key.set_access((AccessRule("user:0", manage=True),)))
    instance.event(event_id=10)

    kinds = [line["data"]["KeyModificationType"] for line in instance.events(event_id=21)]
    assert kinds == [1, 3, 4]
    failed = instance.event(event_id=10)
    assert failed["data"]["KeyModificationType"] == 4
    assert failed["data"]["Status"] == Status.NTE_BAD_KEYSET
    assert b"a secret note" not in b"".join(
        path.read_bytes() for path in instance.instance.events.iterdir()
    )


def test_an_ephemeral_key_that_does_not_open_is_event_3(instance: EventInstance) -> None:
    """Somebody else's blob opens nothing, and is noticed."""
    path = instance.instance.control_socket
    with RawClient.bound(path) as owner, RawClient.bound(path) as thief:
        blob = owner.call(CreateKey(terms())).blob
        _, attached = thief.attach()
        stolen = OpenEphemeral(blob, attached.channel_id, attached.worker_instance)
        assert thief.status(stolen) == Status.KEYISO_E_EPHEMERAL_GONE
    line = instance.event(event_id=3)

    assert line["data"] == {
        "ProviderName": "",
        "KeyName": "",
        "Status": Status.KEYISO_E_EPHEMERAL_GONE,
        "ProcessName": "raw client",
    }


def test_a_repeated_request_is_recorded_as_a_repeat(instance: EventInstance) -> None:
    """The first record may have been lost with the service that was to write it."""
    with RawClient.bound(instance.instance.control_socket) as client:
        create = CreateKey(terms("web"))
        key_id = client.call(create).header.key_id
        assert client.call(create).header.key_id == key_id
        delete = DeleteKey(os.urandom(16), PROVIDER, "user", units("web"), key_id)
        client.call(delete)
        client.call(delete)
    lines = instance.events(channel="KeyMgmt")

    assert [line["event_id"] for line in lines] == [21, 21, 22, 22]
    assert [line.get("repeated") for line in lines] == [None, 1, None, 1]
    assert {line["data"]["KeyFileName"] for line in lines} == {key_id.hex()}


# --- channels ----------------------------------------------------------------------------------


def test_a_channel_that_is_off_records_nothing_but_the_switch(instance: EventInstance) -> None:
    switch("KeyMgmt", 0)
    Key.create("web", "ECDSA_P256").close()
    switch("Operational", 0)
    refused(lambda: Key.open("nobody"))
    instance.kill("keyiso")
    refused(lambda: Key.open("nobody"))
    Key.open("web").delete()
    switch("KeyMgmt", 4)
    Key.create("web", "ECDSA_P256").close()
    lines = instance.events()

    assert [line["event_id"] for line in lines] == [1000, 1000, 1000, 21]
    assert [line["data"]["NewLevel"] for line in lines[:3]] == ["off", "off", "information"]
    assert {line["uid"] for line in lines} == {os.geteuid()}


def test_a_damaged_file_of_channels_means_the_defaults(instance: EventInstance) -> None:
    switch("KeyMgmt", 0)
    (instance.instance.events / "channels").write_bytes(b"\x00")
    instance.kill("keyiso")
    Key.create("web", "ECDSA_P256").close()

    assert instance.events(event_id=21)
    assert "channels: it is damaged" in instance.instance.log.read_text()


# --- what never stands in the way --------------------------------------------------------------


def everything_works() -> None:
    with Key.create("web", "ECDSA_P256", overwrite=True) as key:
        key.verify(key.sign(DATA), DATA)
        refused(key.export)
        refused(lambda: Key.open("nobody"))
        key.delete()


def test_a_full_disk_loses_events_and_no_operation(instance: EventInstance) -> None:
    log = instance.instance.events / "events.jsonl"
    log.symlink_to("/dev/full")
    everything_works()
    lost = instance.until(lambda: service_status().lost_events)
    assert lost >= 3
    assert refused(lambda: switch("KeyMgmt", 0)) == Status.KEYISO_E_STORE

    log.unlink()
    everything_works()
    line = instance.events()[0]
    assert line["missing"] >= lost
    assert not instance.events(event_id=1000)


def test_a_directory_that_is_none_loses_events_and_no_operation(instance: EventInstance) -> None:
    directory = instance.instance.events
    directory.rename(directory.with_name("moved"))
    directory.touch()
    instance.kill("keyiso")
    everything_works()
    assert instance.until(lambda: service_status().lost_events) >= 3

    directory.unlink()
    directory.with_name("moved").rename(directory)
    everything_works()
    assert instance.events(event_id=22)


def test_a_user_who_only_fails_does_not_fill_the_log(instance: EventInstance) -> None:
    for _ in range(300):
        refused(lambda: Key.open("nobody"))
    suppressed = service_status().suppressed_events

    assert suppressed > 0
    assert len(instance.events(event_id=3)) + suppressed == 300
    with Key.create("web", "ECDSA_P256"):
        assert instance.events(event_id=21)


def test_the_journal_gets_what_the_log_gets(instance: EventInstance) -> None:
    Key.create("two\nlines", "ECDSA_P256").close()
    instance.until(lambda: instance.sent)
    found = dict(fields(instance.sent[0]))

    assert found["SYSLOG_IDENTIFIER"] == "keyiso"
    assert found["KEYISO_EVENT_ID"] == "21"
    assert found["KEYISO_KEY_NAME"] == r"two\nlines"
    assert found["KEYISO_PID"] == str(os.getpid())


def test_a_journal_that_does_not_read_loses_records_and_no_operation(
    instance: EventInstance,
) -> None:
    while not service_status().lost_journal:
        everything_works()

    assert service_status().lost_events == 0
