"""What Passport's two services may do, who are no more than the user keyiso-passport: also when one
of them was taken over. Here processes of that user stand in for it.

Needs root, which starts the services as different users and clients as others.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyiso.client.binding import trusted_uids
from keyiso.client.supervision import start_service, stop_service
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER, MS_NGC_KEY_STORAGE_PROVIDER
from keyiso.status import Status
from keyiso.supervisor.layout import listen_at
from tests.conformance.world import (
    ALICE,
    BOB,
    KEYISO,
    PASSPORT,
    TRUSTLET,
    SystemInstance,
    World,
    uid_of,
)
from tests.instance import in_use
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming other users needs root")

SERVICE = """
import socket, struct
from keyiso.wire.control import Attach, CreateKey, EnumKeys, FindKey, OpenKey
from keyiso.wire.messages import Failure
from keyiso.wire.passport import GetContainer, MakePinKey
from keyiso.wire.passport_services import BindFor
from keyiso.wire.results import Done

instance = client_instance(os.environ)

def connected(path):
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.connect(str(path))
    return one

def status_of(answer):
    return answer.status if isinstance(answer, Failure) else 0

def served(descriptor):
    "A connection to the KeyIso service, for who has connected a socket; and what it says to that."
    client = raw_client.RawClient.at(instance.served_socket)
    client.hello()
    return client, status_of(client.call_with(BindFor("a program"), descriptor))
"""

ENROL = """
from keyiso.client.binding import bind_process
from keyiso.client.passport import create_passport_key, enrol_pin
from keyiso.crypto.pin import Pin

binding = bind_process(os.environ, service="passport")
enrol_pin(binding, Pin(bytearray(b"482915")))
create_passport_key(binding, Pin(bytearray(b"482915")), "logon")
Key.create("tls", "ECDSA_P256").close()
tell(os.getuid())
"""


@pytest.fixture(scope="module", autouse=True)
def enrolled(world: World) -> None:
    """She has a container, and a key of her own beside it."""
    assert world.run(ALICE, ENROL) == uid_of(ALICE)


def test_the_services_are_a_user_of_their_own(system: SystemInstance) -> None:
    uids = {entry.service: entry.uid for entry in system.status().processes}

    assert uids["passport"] == uids["passport-container"] == uid_of(PASSPORT)
    assert uid_of(PASSPORT) not in {uids["keyiso"], uids["software-generator"], 0}
    for place in (system.instance.container_socket, system.instance.served_socket):
        assert (place.stat().st_uid, place.stat().st_mode & 0o777) == (uid_of(PASSPORT), 0o600)


@pytest.mark.parametrize("user", [ALICE, KEYISO, TRUSTLET])
def test_nobody_else_reaches_what_is_for_the_services(world: World, user: str) -> None:
    told = world.run(
        user,
        SERVICE
        + """
refused = []
for place in (instance.container_socket, instance.served_socket):
    try:
        connected(place)
    except PermissionError:
        refused.append(place.name)
tell(refused)
""",
    )

    assert told == ["passport-container.sock", "keyiso-passport.sock"]


def test_root_is_no_service_either(system: SystemInstance, world: World) -> None:
    """The mode of a socket stops no root, and its word for somebody else would need no PIN."""
    told = world.run(
        "root",
        SERVICE
        + """
answers = []
for place in (instance.container_socket, instance.served_socket):
    with raw_client.RawClient.at(place) as client:
        answers.append(client.receive().status)
tell(answers)
""",
    )

    assert told == [Status.KEYISO_E_PEER_REFUSED, Status.NTE_PERM]


def test_only_what_an_application_has_connected_says_who_it_is(world: World) -> None:
    """Who listens is root, mostly: neither that socket nor an end that connects to it will do."""
    told = world.run(
        PASSPORT,
        SERVICE
        + """
listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listening.bind("\\0keyiso test %d" % os.getpid())
listening.listen()
tcp = socket.create_server(("127.0.0.1", 0))
tcp_client = socket.create_connection(tcp.getsockname())
pipe = os.pipe()
ours, theirs = socket.socketpair()
client = connected("\\0keyiso test %d" % os.getpid())
accepted, _ = listening.accept()
candidates = [
    ours.fileno(),
    accepted.fileno(),  # with an application, but not at the Passport service
    connected(control()).fileno(),  # root listens there
    connected(instance.passport_socket).fileno(),
    listening.fileno(),
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).fileno(),
    tcp_client.fileno(),
    pipe[0],
    os.open("/dev/null", os.O_RDONLY),
]
tell([served(candidate)[1] for candidate in candidates])
""",
    )

    assert told == [Status.NTE_INVALID_PARAMETER] * 9


@pytest.fixture
def at_the_passport_service(system: SystemInstance) -> Iterator[socket.socket]:
    """What listens where applications connect to, in the hands of who has taken that service
    over.
    """
    place = system.instance.passport_socket
    kept = place.with_name("kept.sock")
    stop_service(system.instance, trusted_uids(), "passport")
    try:
        wait_until(lambda: not system.pid_of("passport"), "the end of the Passport service")
        place.rename(kept)
        with listen_at(place, mode=0o666) as listening:
            yield listening
    finally:
        if kept.exists():
            kept.rename(place)
        start_service(system.instance, trusted_uids(), "passport")
        wait_until(lambda: bool(system.pid_of("passport")), "the Passport service")


def test_a_service_asks_for_who_is_connected_and_for_passport_alone(
    world: World, at_the_passport_service: socket.socket
) -> None:
    """It has her socket, for as long as she is there, and neither her PIN nor her other keys."""
    descriptor = at_the_passport_service.fileno()
    code = f"""
alice, name = {uid_of(ALICE)}, raw_client.units
software, passport = {MS_KEY_STORAGE_PROVIDER!r}, {MS_NGC_KEY_STORAGE_PROVIDER!r}
tell("listens")
accepted, _ = socket.socket(fileno={descriptor}).accept()
client, bound = served(accepted.fileno())
again = status_of(client.call_with(BindFor("again"), accepted.fileno()))
terms = raw_client.terms("mine", owner=alice)
tell([
    bound,
    again,
    [status_of(client.call(operation)) for operation in (
        FindKey(passport, "user", name("logon")),
        GetContainer(alice),
        FindKey(software, "user", name("tls")),
        EnumKeys(software, "user", b""),
        OpenKey(software, "user", name("tls"), b"c" * 16, b"i" * 16),
        CreateKey(terms),
        Attach(),
        GetContainer({uid_of(BOB)}),
    )],
])
wait()
try:
    client.receive()
except raw_client.Ended:
    tell(["ended", served(accepted.fileno())[1]])
"""
    visit = f"""
import socket
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visiting:
    visiting.connect({at_the_passport_service.getsockname()!r})
    tell("connected")
    wait()
tell("gone")
"""
    with world.start(PASSPORT, SERVICE + code, pass_fds=(descriptor,)) as service:
        assert service.told() == "listens"
        with world.start(ALICE, visit) as alice:
            assert alice.told() == "connected"
            bound, again, answers = service.told()
            alice.go_on()
            assert alice.told() == "gone"
            service.go_on()
            ended = service.told()

    assert (bound, again) == (0, Status.KEYISO_E_PROTOCOL)
    assert answers == [0, 0, *[Status.NTE_PERM] * 6]
    assert ended == ["ended", Status.NTE_INVALID_PARAMETER]


@pytest.mark.parametrize("made", ["MakePinKey(1, 'verify', b'a' * 16)", "RequestReset(1)"])
def test_no_service_says_to_which_key_a_secret_is_sealed(
    system: SystemInstance, world: World, made: str
) -> None:
    """It would be one of its own. An application asks the KeyIso service for that."""
    for place in (system.instance.passport_socket, system.instance.served_socket):
        told = world.run(
            "root" if place == system.instance.passport_socket else PASSPORT,
            f"""
from keyiso.wire.passport import MakePinKey, RequestReset
with raw_client.RawClient.at({str(place)!r}) as client:
    client.hello()
    tell(client.call({made}).status)
""",
        )
        assert told == Status.KEYISO_E_PROTOCOL


def test_what_a_service_is_not_for_ends_its_connection(world: World) -> None:
    """It does not even have words for it."""
    told: Any = world.run(
        PASSPORT,
        SERVICE
        + """
from keyiso.wire.control import Bind, GetBindings, ImportKey
told = []
for operation in (Bind(os.urandom(16), "itself"), GetBindings()):
    with raw_client.RawClient.at(instance.served_socket) as client:
        client.hello()
        told.append(client.call(operation).status)
tell(told)
""",
    )

    assert told == [Status.KEYISO_E_PROTOCOL] * 2


def test_bindings_say_through_whom_a_program_asks(system: SystemInstance, world: World) -> None:
    ask = """
from keyiso.client.binding import bind_process
from keyiso.wire.passport import GetContainer
binding = bind_process(os.environ, service="passport")
binding.control(GetContainer(os.getuid()))
tell(os.getpid())
wait()
"""
    with world.start(ALICE, ask) as program:
        pid = program.told()
        found = world.run(
            "root",
            """
from keyiso.client.binding import bind_process
from keyiso.wire.control import GetBindings
found = bind_process(os.environ).control(GetBindings()).processes
tell([[one.pid, one.uid, one.process] for one in found])
""",
        )

    assert [pid, uid_of(ALICE), "-c, by passport-container"] in found


@pytest.fixture
def small_shares(python: Path, homes: Path) -> Iterator[World]:
    limit = ("--limit", "CONNECTIONS_PER_USER=6")
    with in_use(SystemInstance(homes / "small", python, limit)) as running:
        yield World(python, running.home)


def test_who_takes_all_that_is_his_takes_nothing_from_others(small_shares: World) -> None:
    """Of no service of the chain, though each is one user to the next."""
    crowd = """
import contextlib
from keyiso.wire.control import Bind
from keyiso.wire.passport import GetContainer
place = client_instance(os.environ).passport_socket
with contextlib.ExitStack() as stack:
    answers = []
    for _ in range(6):
        client = stack.enter_context(raw_client.RawClient.at(place))
        client.hello()
        client.call(Bind(os.urandom(16), "crowd"))
        answers.append(client.call(GetContainer(os.getuid())).status)
    with raw_client.RawClient.at(place) as client:
        answers.append(client.receive().status)
    tell(answers)
    wait()
"""
    ask = """
from keyiso.client.binding import bind_process
from keyiso.client.passport import get_container
tell(outcome(lambda: get_container(bind_process(os.environ, service="passport"))))
"""
    assert small_shares.run(ALICE, ask) == "NTE_NOT_FOUND"  # everybody serves
    with small_shares.start(ALICE, crowd) as alice:
        assert alice.told() == [*[Status.NTE_NOT_FOUND] * 6, Status.KEYISO_E_LIMIT]
        assert small_shares.run(BOB, ask) == "NTE_NOT_FOUND"
