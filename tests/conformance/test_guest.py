"""Programs in a machine, keys outside of it: what they ask for, and what breaks on the way."""

import contextlib
import grp
import os
import random
import shutil
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keyiso import Key, KeyUsage, NCryptError, Provider, limits, ncrypt
from keyiso.crypto.signatures import Padding
from keyiso.doctor.instance import instance_findings, running_instance
from keyiso.flags import NCRYPT_PERSIST_FLAG
from keyiso.router import process_router
from keyiso.status import Status
from keyiso.wire.channel import Sign
from keyiso.wire.control import Bind, CreateKey, FindKey, GetProperty, GetServiceStatus, OpenKey
from keyiso.wire.messages import Call, Failure, Hello, Refusal, Welcome, result_of
from keyiso.wire.multiplexer import Multiplexer, Side
from tests.conformance.raw_client import PROVIDER, Ended, RawClient, message, terms, units
from tests.conformance.world import ALICE, SystemInstance, uid_of
from tests.guest_port import Guest
from tests.instance import RunningInstance
from tests.waiting import wait_until

DATA = b"data"
SEED = int(os.environ.get("KEYISO_FUZZ_SEED", str(random.SystemRandom().randrange(1 << 32))))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[RunningInstance]:
    """The stack with the keys. This process, which is in the machine, does not use it."""
    running = RunningInstance(tmp_path / "outside")
    running.start()
    try:
        yield running
    finally:
        running.end()
        shutil.rmtree(running.instance.runtime, ignore_errors=True)


@pytest.fixture
def guest(
    outside: RunningInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Guest]:
    """The machine that this process is in."""
    made = Guest(tmp_path / "guest", outside.environ)
    made.start()
    monkeypatch.setenv("KEYISO_HOME", str(made.home))
    process_router.cache_clear()
    runtime = made.instance.runtime
    try:
        yield made
    finally:
        process_router.cache_clear()
        made.end()
        shutil.rmtree(runtime, ignore_errors=True)


def signs(key: Key) -> None:
    key.verify(key.sign(DATA), DATA)


def owned_by(guest: Guest) -> int:
    """The uid that KeyIso takes a client in the machine for."""
    with RawClient.at(guest.instance.control_socket) as client:
        client.hello()
        uid: int = client.call(Bind(os.urandom(16), "raw client")).uid
        return uid


# --- what programs ask for ----------------------------------------------------------------------


def test_keys_outside_do_all_that_keys_do(guest: Guest, outside: RunningInstance) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        signs(key)
        digests = [os.urandom(32) for _ in range(100)]
        for digest, signature in zip(digests, key.sign_digests(digests), strict=True):
            key.verify_digest(signature, digest)
        large = os.urandom(limits.PROPERTY_BYTES)
        ncrypt.NCryptSetProperty(key.handle, "Large", large, NCRYPT_PERSIST_FLAG)
    with Key.open("web") as key:
        assert ncrypt.NCryptGetProperty(key.handle, "Large") == large
    with Key.create(None, "RSA", usage=KeyUsage.DECRYPT) as short:
        assert short.decrypt(short.encrypt(DATA)) == DATA
    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    with Key.import_key("imported", private) as imported:
        signs(imported)
    with Provider() as provider:
        assert {found.pszName for found in provider.keys()} == {"web", "imported"}
    with Key.open("imported") as imported:
        imported.delete()
    assert not Key.exists("imported")
    assert not guest.instance.store.exists()
    assert outside.instance.store.exists()


def test_the_doctor_in_the_machine_says_where_the_keys_are(guest: Guest) -> None:
    running = running_instance(guest.environ)
    (finding,) = instance_findings(running)
    assert (finding.name, finding.state.value) == ("running", "yes")
    assert "outside of this machine" in finding.evidence

    guest.kill("relay")
    (finding,) = instance_findings(running_instance(guest.environ))
    assert finding.state.value == "no"


def test_many_clients_at_a_time_each_get_their_own_answers(guest: Guest) -> None:
    Key.create("web", "ECDSA_P256").close()
    path, before = guest.instance.control_socket, descriptors_of(guest)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient.bound(path)) for _ in range(100)]
        channels = [client.attach() for client in clients]
        opening = [
            OpenKey(PROVIDER, "user", units("web"), one.channel_id, one.worker_instance)
            for _, one in channels
        ]
        for client, operation in zip(clients, opening, strict=True):
            client.send(message(Call(1000, operation)))
        slots = [result_of(one, c.receive()).slot for one, c in zip(opening, clients, strict=True)]
        with Key.open("web") as key:
            for number, ((channel, _), slot) in enumerate(zip(channels, slots, strict=True)):
                digest = bytes([number]) * 32
                key.verify_digest(channel.call(Sign(slot, digest, Padding())).value, digest)
    wait_until(lambda: descriptors_of(guest) < before + 10, "the end of the streams")


def descriptors_of(guest: Guest) -> int:
    """What both ends have open."""
    pids = guest.pid_of("relay"), guest.pid_of("connection")
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)


def test_a_client_that_reads_nothing_holds_nobody_up(guest: Guest) -> None:
    key = Key.create("web", "ECDSA_P256")
    ncrypt.NCryptSetProperty(key.handle, "Large", bytes(limits.PROPERTY_BYTES), NCRYPT_PERSIST_FLAG)
    with Key.open("web") as again, RawClient.bound(guest.instance.control_socket) as deaf:
        key_id = again_id(deaf)
        asking = GetProperty(PROVIDER, "user", units("web"), key_id, units("Large"))
        deaf.send(b"".join(message(Call(number, asking)) for number in range(100, 104)))
        for _ in range(50):
            signs(again)
        for number in range(100, 104):
            answer = deaf.receive()
            assert answer.call_id in range(100, 104), number
            assert len(result_of(asking, answer).value) == limits.PROPERTY_BYTES


def again_id(client: RawClient) -> bytes:
    found = client.call(FindKey(PROVIDER, "user", units("web")))
    key_id: bytes = found.header.key_id
    return key_id


# --- what breaks --------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["relay", "serve", "connection"])
def test_a_key_goes_on_when_an_end_of_the_line_is_killed(guest: Guest, victim: str) -> None:
    with Key.create("web", "ECDSA_P256") as key, Key.create(None, "ECDSA_P256") as ephemeral:
        for _ in range(3):
            signs(key)
            signs(ephemeral)
            guest.kill(victim)
            if victim != "connection":
                guest.start(victim)
        signs(key)
        signs(ephemeral)


@pytest.mark.parametrize("victims", [("keyiso",), ("software-0",), ("keyiso", "software-0")])
def test_a_key_goes_on_when_services_outside_are_killed(
    guest: Guest, outside: RunningInstance, victims: tuple[str, ...]
) -> None:
    with Key.create("web", "ECDSA_P256") as key, Key.create(None, "ECDSA_P256") as ephemeral:
        for _ in range(3):
            signs(key)
            signs(ephemeral)
            outside.kill(*victims)
            wait_until(lambda: all(map(outside.pid_of, victims)), "the services' return")
        signs(key)
        signs(ephemeral)


def test_no_program_starts_a_keyiso_in_the_machine_while_the_relay_is_away(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.kill("relay")
    monkeypatch.setenv("KEYISO_DEADLINE", "1")
    process_router.cache_clear()

    with pytest.raises(NCryptError) as refused:
        Key.create("web", "ECDSA_P256")
    assert refused.value.status == Status.KEYISO_E_SERVICE_UNAVAILABLE
    assert not guest.instance.store.exists()


def test_a_client_waits_until_the_outside_is_there(guest: Guest) -> None:
    with RawClient.at(guest.instance.control_socket) as before:
        before.hello()
        guest.kill("serve")
        with pytest.raises(Ended):  # the relay has noticed: who comes from now on waits
            before.receive()
    with RawClient.at(guest.instance.control_socket) as client:
        client.send(message(Hello(1, 1, "raw client")))
        guest.start("serve")
        assert isinstance(client.receive(), Welcome)


@pytest.mark.parametrize("to", ["inside", "outside"])
def test_rubbish_on_the_line_ends_connections_and_keys_go_on(guest: Guest, to: str) -> None:
    rng = random.Random(SEED)
    with Key.create("web", "ECDSA_P256") as key:
        for size in (1, 7, 1000, 100_000):
            signs(key)
            guest.port.say(to, rng.randbytes(size))
        signs(key)


def test_nobody_else_in_the_machine_may_use_the_keys_unless_it_is_said_who(
    guest: Guest,
) -> None:
    socket_file = guest.instance.control_socket

    def access() -> tuple[int, int]:
        found = socket_file.stat()
        return stat.S_IMODE(found.st_mode), found.st_gid

    wait_until(lambda: access()[0] == 0o600, "a socket of one's own")
    guest.kill("relay")
    guest.start("relay", group=grp.getgrgid(os.getegid()).gr_name)
    wait_until(lambda: access() == (0o660, os.getegid()), "a socket of the group")


def test_rubbish_of_a_client_ends_that_client(guest: Guest) -> None:
    rng = random.Random(SEED)
    with Key.create("web", "ECDSA_P256") as key:
        connection = guest.pid_of("connection")
        for _ in range(20):
            with RawClient.at(guest.instance.control_socket) as client:
                client.send(b"\xff\xff\xff\xff" + rng.randbytes(10_000))
                with contextlib.suppress(Ended):
                    assert isinstance(client.receive(), Refusal)
        signs(key)
        assert guest.pid_of("connection") == connection


# --- a machine that is hostile ------------------------------------------------------------------


class Hostile:
    """The inside's end of the line, without the relay."""

    def __init__(self, guest: Guest) -> None:
        guest.kill("relay")
        self._path = guest.port.paths["inside"]
        wait_until(self._begin, "an answer from outside")

    def _begin(self) -> bool:
        """False when the line was cut, as it is for who begins anew."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(self._path))
        self._socket.settimeout(60)
        self.multiplexer = Multiplexer(Side.INSIDE)
        with contextlib.suppress(OSError):
            self.say()
            while data := self._socket.recv(65536):
                self.multiplexer.receive(data)
                self.say()
                if self.multiplexer.ready:
                    return True
        self._socket.close()
        return False

    def say(self, more: bytes = b"") -> None:
        self._socket.sendall(self.multiplexer.output() + more)

    def hears_the_end(self) -> None:
        """Read what came until the other side has ended the line."""
        with contextlib.suppress(ConnectionError):
            while self._socket.recv(1 << 20):
                pass

    def __enter__(self) -> "Hostile":
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()


def test_a_machine_that_fills_all_streams_and_reads_none_costs_what_the_limits_say(
    guest: Guest, outside: RunningInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Key.create("web", "ECDSA_P256") as key:
        signs(key)
    asking = message(Hello(1, 1, "hostile")) + b"".join(
        message(Call(number, GetServiceStatus())) for number in range(1, 1000)
    )
    with Hostile(guest) as hostile:
        connection = guest.pid_of("connection")
        with contextlib.suppress(OSError):  # it may be thrown out
            for _ in range(limits.MUX_STREAMS):
                stream = hostile.multiplexer.open()
                hostile.multiplexer.send(stream, asking)
                hostile.say()
        monkeypatch.setenv("KEYISO_HOME", str(outside.home))
        process_router.cache_clear()
        with Key.open("web") as key:
            signs(key)
        assert resident(connection) < 3 * limits.MUX_STREAMS * limits.MUX_WINDOW_BYTES


def resident(pid: int) -> int:
    """Bytes of memory; none for a process that has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except FileNotFoundError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_machine_that_breaks_the_rules_is_cut_off_and_may_come_again(guest: Guest) -> None:
    with Hostile(guest) as hostile:
        hostile.say(struct.pack("<BIH", 2, 4711, 4) + bytes(4))  # a stream out of turn
        hostile.hears_the_end()
    guest.start("relay")
    with Key.create("web", "ECDSA_P256") as key:
        signs(key)


# --- whose keys they are ------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can stand for another user")
def test_a_machine_is_the_user_that_was_chosen_outside_whoever_asks_inside(
    python: Path, homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = SystemInstance(homes / "system", python)
    system.start()
    guest = Guest(tmp_path / "guest", system.environ, user=ALICE)
    try:
        guest.start()
        monkeypatch.setenv("KEYISO_HOME", str(guest.home))
        process_router.cache_clear()
        assert os.geteuid() == 0
        assert owned_by(guest) == uid_of(ALICE)
        with Key.create("web", "ECDSA_P256") as key:
            signs(key)
            with RawClient.bound(guest.instance.control_socket) as client:
                found = client.call(FindKey(PROVIDER, "user", units("web")))
                assert found.header.owner == uid_of(ALICE)
                # What is said of uids inside is not believed.
                claim = CreateKey(terms("claimed", owner=0))
                created = client.call(claim)
                assert isinstance(created, Failure) or created.header.owner == uid_of(ALICE)
        with pytest.raises(NCryptError):
            Key.create("web", "ECDSA_P256", machine=True)
        status = Path(f"/proc/{guest.pid_of('connection')}/status").read_text(encoding="ascii")
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        uid = str(uid_of(ALICE))
        assert fields["Uid"].split() == [uid] * 4
        assert fields["Groups"].split() == []
        assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    finally:
        runtime = guest.instance.runtime
        process_router.cache_clear()
        guest.end()
        shutil.rmtree(runtime, ignore_errors=True)
        runtime = system.instance.runtime
        system.end()
        shutil.rmtree(runtime, ignore_errors=True)
