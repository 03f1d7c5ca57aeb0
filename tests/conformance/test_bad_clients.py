"""Clients that break the protocol, forge, replay or steal: each is told so, nobody else notices.

After every test a polite client is served as before, by the very same processes.
"""

import contextlib
import itertools
import os
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyiso import Key, limits
from keyiso.crypto.agreement import Derivation
from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.encryption import EncryptionPadding
from keyiso.crypto.import_seal import seal_import
from keyiso.crypto.key_blob import read_header
from keyiso.crypto.signatures import Padding
from keyiso.errors import Hop
from keyiso.status import Status, status_name
from keyiso.wire.channel import (
    Decipher,
    Decrypt,
    Derive,
    Encipher,
    ExportPrivate,
    Release,
    Sign,
    Signature,
)
from keyiso.wire.control import (
    Attach,
    Attached,
    Bind,
    Bound,
    Created,
    CreateKey,
    DeleteKey,
    EnumKeys,
    FindKey,
    Found,
    GetBindings,
    GetEventChannels,
    GetImportKey,
    GetServiceStatus,
    ImportKey,
    KeyNames,
    OpenEphemeral,
    OpenKey,
    ReleaseEphemeral,
    ReportProviderFailure,
    SetEventChannel,
)
from keyiso.wire.messages import Call, Failure, Hello, Refusal, Return, Welcome
from keyiso.wire.results import Done, Opened
from keyiso.wire.session import OUTSTANDING_CALLS
from tests.conformance.independent import digest
from tests.conformance.raw_client import (
    PROVIDER,
    Ended,
    RawClient,
    frame,
    message,
    terms,
    units,
)
from tests.instance import RunningInstance

DIGEST = digest("SHA256")
ID = bytes(16)


pytestmark = pytest.mark.usefixtures("everybody_else_is_served")

Connect = Callable[[], RawClient]


@pytest.fixture
def connect(shared_instance: RunningInstance) -> Iterator[Connect]:
    """Makes clients that are bound, each under a group of its own; they end with the test."""
    with contextlib.ExitStack() as clients:
        path = shared_instance.instance.control_socket
        yield lambda: clients.enter_context(RawClient.bound(path))


@pytest.fixture
def client(connect: Connect) -> RawClient:
    """One client that is bound, and has done nothing yet."""
    return connect()


@pytest.fixture(params=["control", "channel"])
def greeted(request: pytest.FixtureRequest, client: RawClient) -> RawClient:
    """A connection to the KeyIso service, and one to a worker, that both are ready for calls."""
    return client if request.param == "control" else client.attach()[0]


@pytest.fixture(params=["control", "channel"])
def ungreeted(
    request: pytest.FixtureRequest, shared_instance: RunningInstance, client: RawClient
) -> Iterator[RawClient]:
    """The same two before the hello."""
    if request.param == "channel":
        yield client.attach_silently()[0]
    else:
        with RawClient.at(shared_instance.instance.control_socket) as fresh:
            yield fresh


def refused(client: RawClient) -> Refusal:
    """The server says why, and hangs up."""
    answer = client.receive()
    assert isinstance(answer, Refusal), answer
    assert answer.status == Status.KEYISO_E_PROTOCOL
    with pytest.raises(Ended):
        client.receive()
    return answer


def opened(client: RawClient, name: str, attached: Attached) -> Opened:
    answer = client.call(
        OpenKey(PROVIDER, "user", units(name), attached.channel_id, attached.worker_instance)
    )
    assert isinstance(answer, Opened), answer
    return answer


def created(client: RawClient, name: str = "", **options: Any) -> Created:
    answer = client.call(CreateKey(terms(name, **options)))
    assert isinstance(answer, Created), answer
    return answer


# --- bytes that are no messages ----------------------------------------------------------------

NO_MESSAGES = {
    "a frame of 4 GiB": struct.pack("<I", 0xFFFFFFFF) + b"x",
    "a frame one byte too long": struct.pack("<I", limits.CONTROL_FRAME_BYTES + 1),
    "an empty frame": frame(b""),
    "no msgpack": frame(b"\xc1" * 40),
    "msgpack cut short": frame(b"\x95\x03"),
    "two values in a frame": frame(b"\x01\x02"),
    "a number": message(5),
    "an empty array": message([]),
    "a map": message({"type": 3}),
    "arrays in arrays": frame(b"\x91" * 50_000),
    "an unknown message": message([99, 1]),
    "an answer": message([4, 1, []]),
    "a failure": message([5, 1, 0, "", "", []]),
    "a refusal": message([6, 0, "", ""]),
    "text that is no UTF-8": frame(b"\x95\x01\x01\x01\xa1\xff\x90"),
    "a web browser": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_MESSAGES.values(), ids=NO_MESSAGES.keys())
def test_bytes_that_are_no_message_after_the_hello(greeted: RawClient, data: bytes) -> None:
    greeted.send(data)

    refused(greeted)


@pytest.mark.parametrize("data", NO_MESSAGES.values(), ids=NO_MESSAGES.keys())
def test_bytes_that_are_no_message_instead_of_a_hello(ungreeted: RawClient, data: bytes) -> None:
    ungreeted.send(data)

    refused(ungreeted)


def test_a_key_channel_takes_shorter_frames(client: RawClient) -> None:
    channel, _ = client.attach()
    channel.send(struct.pack("<I", limits.KEY_FRAME_BYTES + 1))

    answer = refused(channel)

    assert str(limits.KEY_FRAME_BYTES) in answer.cause


@pytest.mark.parametrize("length", [1, 3, 4, 100])
def test_a_frame_that_is_cut_short_by_the_end(greeted: RawClient, length: int) -> None:
    greeted.send((struct.pack("<I", 1000) + b"x" * 500)[:length])
    greeted.socket.shutdown(socket.SHUT_WR)

    with pytest.raises(Ended):
        greeted.receive()


def test_a_frame_that_comes_byte_by_byte(greeted: RawClient) -> None:
    """Slow is not broken."""
    for byte in message(Call(1000, greeted.harmless)):
        greeted.send(bytes([byte]))

    assert isinstance(greeted.receive(), Return)


def test_a_frame_as_long_as_is_allowed(client: RawClient) -> None:
    """It is looked at, and refused for what it says."""
    room = limits.CONTROL_FRAME_BYTES - len(message(Call(2, ReleaseEphemeral(b""))))
    blob = b"\x01" + bytes(room - 8)

    assert client.status(ReleaseEphemeral(blob)) == Status.NTE_BAD_DATA


# --- messages that may not come now -------------------------------------------------------------


@pytest.mark.parametrize(("oldest", "newest"), [(2, 9), (-3, 0), (2, 1)])
def test_versions_that_the_server_does_not_speak(
    ungreeted: RawClient, oldest: int, newest: int
) -> None:
    ungreeted.send(message(Hello(oldest, newest, "future")))

    assert f"{oldest} to {newest}" in refused(ungreeted).cause


def test_a_client_that_speaks_more_versions(ungreeted: RawClient) -> None:
    """And sends fields that nobody knows yet."""
    ungreeted.send(message([1, 1, 9, "newer", ["feature"], b"grease", {"more": 1}]))

    answer = ungreeted.receive()

    assert isinstance(answer, Welcome)
    assert answer.version == 1


@pytest.mark.parametrize("operation", [[1, ID, "raw"], [2, []], [12]], ids=["1", "2", "12"])
def test_a_call_before_the_hello(ungreeted: RawClient, operation: list[Any]) -> None:
    ungreeted.send(message([3, 1, operation, "", []]))

    refused(ungreeted)


def test_a_second_hello(greeted: RawClient) -> None:
    greeted.send(message(Hello(1, 1, "again")))

    refused(greeted)


BEFORE_BIND = {
    "Attach": Attach(),
    "OpenKey": OpenKey(PROVIDER, "user", units("web"), ID, ID),
    "OpenEphemeral": OpenEphemeral(b"", ID, ID),
    "FindKey": FindKey(PROVIDER, "user", units("web")),
    "CreateKey": CreateKey(terms("web")),
    "GetImportKey": GetImportKey(),
    "ImportKey": ImportKey(terms("web"), ID, b""),
    "DeleteKey": DeleteKey(ID, PROVIDER, "user", units("web"), ID),
    "ReleaseEphemeral": ReleaseEphemeral(b""),
    "EnumKeys": EnumKeys(PROVIDER, "user", b""),
    "GetServiceStatus": GetServiceStatus(),
    "ReportProviderFailure": ReportProviderFailure("provider", 1),
    "SetEventChannel": SetEventChannel("KeyMgmt", 0),
    "GetEventChannels": GetEventChannels(),
    "GetBindings": GetBindings(),
}


@pytest.mark.parametrize("operation", BEFORE_BIND.values(), ids=BEFORE_BIND.keys())
def test_a_call_before_the_bind(shared_instance: RunningInstance, operation: Any) -> None:
    """It is told so and may bind then."""
    with RawClient.at(shared_instance.instance.control_socket) as client:
        client.hello()

        assert client.status(operation) == Status.KEYISO_E_PROTOCOL

        assert isinstance(client.call(Bind(ID, "late")), Bound)


@pytest.mark.parametrize("tag", [0, 99, -1, "Ping"])
def test_an_operation_that_does_not_exist(greeted: RawClient, tag: object) -> None:
    greeted.send(message([3, 1000, [tag], "", []]))

    refused(greeted)


def test_an_operation_of_the_workers_link_is_none_of_the_control_socket(
    client: RawClient,
) -> None:
    """Nobody but KeyIso loads a blob: tag 2 with a blob is no Attach, tag 3 no OpenKey."""
    client.send(message([3, 1000, [3, ["terms"], ["grant"]], "", []]))

    refused(client)


@pytest.mark.parametrize("call_id", [0, -1, "one"])
def test_a_call_id_that_is_none(greeted: RawClient, call_id: object) -> None:
    greeted.send(message([3, call_id, [1], "", []]))

    refused(greeted)


def test_one_call_id_for_two_calls(client: RawClient) -> None:
    """The first is still being answered when the second comes."""
    slow = CreateKey(terms(algorithm="RSA", bits=2048))

    client.send(message(Call(1000, slow)) * 2)

    refused(client)


def test_a_trace_that_is_too_long(greeted: RawClient) -> None:
    greeted.send(message([3, 1000, [12], "0" * (limits.TRACEPARENT_BYTES + 1), []]))

    refused(greeted)


@pytest.mark.parametrize(
    "hops",
    [
        (Hop("a", 1, "f"),) * (limits.HOPS + 1),
        (Hop("a" * (limits.HOP_TEXT_BYTES + 1), 1, "f"),),
        (Hop("a", 1, "f" * (limits.HOP_TEXT_BYTES + 1)),),
    ],
    ids=["too many", "service too long", "function too long"],
)
def test_hops_that_are_too_long(client: RawClient, hops: tuple[Hop, ...]) -> None:
    client.send(message(Call(1000, GetServiceStatus(), "", hops)))

    refused(client)


@pytest.mark.parametrize("hop", [Hop("a", 1, "f"), Hop("\u00e9" * 128, 1, "\u00e9" * 128)])
def test_as_many_hops_as_are_allowed(client: RawClient, hop: Hop) -> None:
    """The service passes the call on with a hop of its own: that must not break its link to a
    worker, on which everybody else's calls are."""
    hops = (hop,) * limits.HOPS

    answers = [client.call(Attach(), hops=hops) for _ in range(4)]

    assert [type(answer) for answer in answers] == [Attached] * 4


# --- arguments that no client of ours sends ------------------------------------------------------

ODD = b"odd"
WRONG_ARGUMENTS: dict[str, tuple[Any, Status]] = {
    "group too short": (Bind(b"short", "x"), Status.NTE_INVALID_PARAMETER),
    "group too long": (Bind(bytes(17), "x"), Status.NTE_INVALID_PARAMETER),
    "create: operation id": (
        CreateKey(terms("web", operation_id=b"short")),
        Status.NTE_INVALID_PARAMETER,
    ),
    "create: no operation id": (
        CreateKey(terms("web", operation_id=b"")),
        Status.NTE_INVALID_PARAMETER,
    ),
    "create: odd name": (CreateKey(terms(raw_name=ODD)), Status.NTE_INVALID_PARAMETER),
    "create: name with NUL": (CreateKey(terms("a\0")), Status.NTE_INVALID_PARAMETER),
    "create: long name": (CreateKey(terms("x" * 261)), Status.NTE_INVALID_PARAMETER),
    "create: persisted without a name": (
        CreateKey(terms(lifetime="persisted")),
        Status.NTE_INVALID_PARAMETER,
    ),
    "create: ephemeral with a name": (
        CreateKey(terms("web", lifetime="ephemeral")),
        Status.NTE_INVALID_PARAMETER,
    ),
    "create: ephemeral for the machine": (
        CreateKey(terms(scope="machine")),
        Status.NTE_INVALID_PARAMETER,
    ),
    "create: per boot without a name": (
        CreateKey(terms(lifetime="per-boot")),
        Status.NTE_INVALID_PARAMETER,
    ),
    "create: of the TPM's level": (
        CreateKey(terms("web", level="hardware")),
        Status.NTE_INVALID_PARAMETER,
    ),
    "create: vbs with an export policy": (
        CreateKey(terms("web", level="vbs", export_policy=1)),
        Status.NTE_NOT_SUPPORTED,
    ),
    "create: for somebody else": (
        CreateKey(terms("web", owner=os.geteuid() + 1)),
        Status.NTE_PERM,
    ),
    "create: algorithm": (CreateKey(terms("web", algorithm="no such")), Status.NTE_NOT_SUPPORTED),
    "create: length": (CreateKey(terms("web", bits=2**63)), Status.NTE_NOT_SUPPORTED),
    "create: usage": (CreateKey(terms("web", usage=-1)), Status.NTE_INVALID_PARAMETER),
    "create: policy": (CreateKey(terms("web", export_policy=-1)), Status.NTE_INVALID_PARAMETER),
    "import with an algorithm": (
        ImportKey(terms("web"), ID, b""),
        Status.NTE_INVALID_PARAMETER,
    ),
    "open: odd name": (OpenKey(PROVIDER, "user", ODD, ID, ID), Status.NTE_INVALID_PARAMETER),
    "open: no name": (OpenKey(PROVIDER, "user", b"", ID, ID), Status.NTE_INVALID_PARAMETER),
    "open: provider": (OpenKey("other", "user", units("a"), ID, ID), Status.NTE_BAD_PROVIDER),
    "find: odd name": (FindKey(PROVIDER, "user", ODD), Status.NTE_INVALID_PARAMETER),
    "delete: odd name": (
        DeleteKey(ID, PROVIDER, "user", ODD, ID),
        Status.NTE_INVALID_PARAMETER,
    ),
    "delete: operation id": (
        DeleteKey(b"short", PROVIDER, "user", units("web"), ID),
        Status.NTE_INVALID_PARAMETER,
    ),
    "delete: key id": (
        DeleteKey(ID, PROVIDER, "user", units("no such key"), b"short"),
        Status.NTE_BAD_KEYSET,
    ),
    "enumerate: provider": (EnumKeys("other", "user", b""), Status.NTE_BAD_PROVIDER),
    "ephemeral: no blob": (OpenEphemeral(b"", ID, ID), Status.NTE_BAD_DATA),
    "ephemeral: garbage": (OpenEphemeral(b"\x01" * 100, ID, ID), Status.NTE_BAD_DATA),
    "ephemeral: other version": (OpenEphemeral(b"\x09" * 100, ID, ID), Status.NTE_BAD_VER),
    "release: garbage": (ReleaseEphemeral(b"\x01" * 100), Status.NTE_BAD_DATA),
}


@pytest.mark.parametrize(
    ("operation", "status"), WRONG_ARGUMENTS.values(), ids=WRONG_ARGUMENTS.keys()
)
def test_arguments_that_do_not_fit(client: RawClient, operation: Any, status: Status) -> None:
    """A clear status, and the connection goes on."""
    assert status_name(client.status(operation)) == status_name(status)

    assert isinstance(client.call(EnumKeys(PROVIDER, "user", b"")), KeyNames)


@pytest.mark.parametrize("scope", ["root", "", 5])
def test_a_scope_that_is_none(client: RawClient, scope: object) -> None:
    client.send(message([3, 1000, [5, PROVIDER, scope, units("web")], "", []]))

    refused(client)


def test_a_failed_call_says_its_way(client: RawClient) -> None:
    """From whom the client says it is, to the process that found the fault; nothing else."""
    hop = Hop("application", os.getpid(), "Test")
    answer = client.call(OpenKey(PROVIDER, "user", units("no such key"), ID, ID), hops=(hop,))

    assert answer.status == Status.NTE_BAD_KEYSET
    assert [(one.service, one.function) for one in answer.chain] == [
        ("application", "Test"),
        ("keyiso", "OpenKey"),
    ]


# --- operation ids -----------------------------------------------------------------------------


def test_a_repeated_create_returns_the_first_result(client: RawClient, name: str) -> None:
    wanted = CreateKey(terms(name))
    first = client.call(wanted)
    assert isinstance(first, Created)

    again = client.call(wanted)

    assert again == first
    assert Key.open(name).unique_name == first.header.key_id.hex()


def test_a_repeated_create_is_told_also_after_the_key_was_deleted(
    client: RawClient, name: str
) -> None:
    """The repeat asks what became of the request, and must not make a second key."""
    wanted = CreateKey(terms(name))
    first = client.call(wanted)
    Key.open(name).delete()

    again = client.call(wanted)

    assert again == first
    assert not Key.exists(name)


def test_a_repeated_create_from_another_connection(
    client: RawClient, connect: Connect, name: str
) -> None:
    wanted = CreateKey(terms(name))
    first = client.call(wanted)
    client.close()

    assert connect().call(wanted) == first


def test_a_repeated_overwrite_replaces_once(client: RawClient, name: str) -> None:
    Key.create(name, "ECDSA_P256")
    wanted = CreateKey(terms(name, overwrite=True))
    first = client.call(wanted)
    assert first.header.generation == 2

    assert client.call(wanted) == first


def test_a_repeated_delete_is_done(client: RawClient, name: str) -> None:
    key = created(client, name)
    delete = DeleteKey(os.urandom(16), PROVIDER, "user", units(name), key.header.key_id)
    assert client.call(delete) == Done()

    assert client.call(delete) == Done()

    successor = created(client, name)
    assert client.call(delete) == Done()
    assert Key.open(name).unique_name == successor.header.key_id.hex()


def test_a_delete_with_a_new_operation_id_is_another_request(client: RawClient, name: str) -> None:
    key = created(client, name)
    delete = DeleteKey(os.urandom(16), PROVIDER, "user", units(name), key.header.key_id)
    assert client.call(delete) == Done()

    again = DeleteKey(os.urandom(16), PROVIDER, "user", units(name), key.header.key_id)
    assert client.status(again) == Status.NTE_BAD_KEYSET


def test_the_operation_id_of_another_request(client: RawClient, name: str) -> None:
    """Whatever differs, it is another request: it is refused and does nothing."""
    wanted = terms(name)
    key = created(client, name, operation_id=wanted.operation_id)
    used = wanted.operation_id
    others: list[Any] = [
        CreateKey(terms(name + "!", operation_id=used)),
        CreateKey(terms(name, operation_id=used, usage=2)),
        CreateKey(terms(name, operation_id=used, overwrite=True)),
        CreateKey(terms(name, operation_id=used, algorithm="ECDSA_P384", bits=384)),
        CreateKey(terms(name, operation_id=used, scope="machine")),
        DeleteKey(used, PROVIDER, "user", units(name), key.header.key_id),
    ]

    for other in others:
        assert client.status(other) == Status.NTE_INVALID_PARAMETER

    assert Key.open(name).unique_name == key.header.key_id.hex()
    assert not Key.exists(name + "!")
    assert not Key.exists(name, machine=True)


def test_the_operation_id_of_a_delete_makes_no_key(client: RawClient, name: str) -> None:
    key = created(client, name)
    delete = DeleteKey(os.urandom(16), PROVIDER, "user", units(name), key.header.key_id)
    client.call(delete)

    wanted = CreateKey(terms(name, operation_id=delete.operation_id))

    assert client.status(wanted) == Status.NTE_INVALID_PARAMETER
    assert not Key.exists(name)


def test_a_delete_means_one_key(client: RawClient, name: str) -> None:
    """Not whatever has the name by then."""
    created(client, name)

    delete = DeleteKey(os.urandom(16), PROVIDER, "user", units(name), os.urandom(16))

    assert client.status(delete) == Status.NTE_BAD_KEYSET
    assert Key.exists(name)


# --- slots and channels ------------------------------------------------------------------------


def test_a_slot_that_was_not_given(client: RawClient, name: str) -> None:
    created(client, name)
    channel, attached = client.attach()
    slot = opened(client, name, attached).slot
    assert isinstance(channel.call(Sign(slot, DIGEST, Padding())), Signature)

    for forged in (slot + 1, slot - 1, 0, -1, 2**63 - 1, 2**64 - 1):
        assert channel.status(Sign(forged, DIGEST, Padding())) == Status.KEYISO_E_STALE
        assert channel.call(Release(forged)) == Done()

    assert isinstance(channel.call(Sign(slot, DIGEST, Padding())), Signature)


def test_a_slot_of_another_channel(client: RawClient, connect: Connect, name: str) -> None:
    """Numbers are all that a thief can guess, and on his own channel they mean nothing."""
    created(client, name)
    victims: dict[bytes, tuple[RawClient, int]] = {}
    for _ in range(8):
        channel, attached = client.attach()
        victims[attached.worker_instance] = channel, opened(client, name, attached).slot

    own, attached = connect().attach()
    victim, slot = victims[attached.worker_instance]

    assert own.status(Sign(slot, DIGEST, Padding())) == Status.KEYISO_E_STALE
    own.call(Release(slot))
    assert isinstance(victim.call(Sign(slot, DIGEST, Padding())), Signature)


def test_the_channel_of_another_client(client: RawClient, connect: Connect, name: str) -> None:
    """Who knows its id can have a key loaded there that is his own anyway, and cannot use it."""
    created(client, name)
    _, attached = client.attach()
    thief = connect()
    own, _ = thief.attach()

    answer = thief.call(
        OpenKey(PROVIDER, "user", units(name), attached.channel_id, attached.worker_instance)
    )

    if isinstance(answer, Opened):
        assert own.status(Sign(answer.slot, DIGEST, Padding())) == Status.KEYISO_E_STALE
    else:
        assert answer.status == Status.KEYISO_E_STALE


@pytest.mark.parametrize(
    "forge",
    [
        lambda attached: (os.urandom(16), attached.worker_instance),
        lambda attached: (b"short", attached.worker_instance),
        lambda attached: (b"", attached.worker_instance),
        lambda attached: (attached.channel_id, os.urandom(16)),
        lambda attached: (attached.channel_id, b""),
    ],
    ids=["id", "short id", "no id", "worker", "no worker"],
)
def test_a_channel_that_was_not_given(
    client: RawClient, forge: Callable[[Attached], tuple[bytes, bytes]], name: str
) -> None:
    key = created(client)
    created(client, name)
    _, attached = client.attach()
    channel_id, worker = forge(attached)

    by_name = OpenKey(PROVIDER, "user", units(name), channel_id, worker)
    assert client.status(by_name) == Status.KEYISO_E_STALE
    assert client.status(OpenEphemeral(key.blob, channel_id, worker)) == Status.KEYISO_E_STALE


def test_a_released_slot_is_empty(client: RawClient, name: str) -> None:
    created(client, name)
    channel, attached = client.attach()
    slot = opened(client, name, attached).slot

    channel.call(Release(slot))

    assert channel.status(Sign(slot, DIGEST, Padding())) == Status.KEYISO_E_STALE


POINT = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
GCM: CipherParameters = CipherParameters("ChainingModeGCM", bytes(12))
USES: dict[str, tuple[str, int, Callable[[int], Any]]] = {
    "sign": ("ECDSA_P256", 256, lambda slot: Sign(slot, DIGEST, Padding())),
    "decrypt": ("RSA", 2048, lambda slot: Decrypt(slot, bytes(256), EncryptionPadding(2))),
    "agree": ("ECDH_P256", 256, lambda slot: Derive(slot, POINT, Derivation("HASH", (), 0, 0))),
    "encipher": ("AES", 256, lambda slot: Encipher(slot, b"m", GCM)),
    "decipher": ("AES", 256, lambda slot: Decipher(slot, bytes(32), GCM)),
}
OTHER_USAGES = {"sign": 0x05, "decrypt": 0x06, "agree": 0x03, "encipher": 0x06, "decipher": 0x06}
"""Every everyday usage but the one that is needed."""


def loaded(client: RawClient, **options: Any) -> tuple[RawClient, int]:
    """A channel and the slot of a new ephemeral key on it."""
    key = created(client, **options)
    channel, attached = client.attach()
    answer = client.call(OpenEphemeral(key.blob, attached.channel_id, attached.worker_instance))
    assert isinstance(answer, Opened), answer
    return channel, answer.slot


@pytest.mark.parametrize("use", USES)
def test_usage_is_refused_by_the_worker_itself(client: RawClient, use: str) -> None:
    """This client leaves out every check that a library would make first."""
    algorithm, bits, operation = USES[use]
    channel, slot = loaded(client, algorithm=algorithm, bits=bits, usage=OTHER_USAGES[use])

    assert status_name(channel.status(operation(slot))) == "NTE_PERM"


@pytest.mark.parametrize("use", USES)
def test_an_operation_of_another_algorithm(client: RawClient, use: str) -> None:
    """With every usage allowed: an elliptic curve key for agreement does not sign, and so on."""
    for other, (algorithm, bits, _) in USES.items():
        if algorithm == USES[use][0]:
            continue
        channel, slot = loaded(client, algorithm=algorithm, bits=bits)
        if (use, other) == ("sign", "decrypt"):
            continue  # RSA signs, too, and misses its padding
        status = channel.status(USES[use][2](slot))
        assert status_name(status) == "NTE_BAD_ALGID", (use, algorithm)


@pytest.mark.parametrize("policy", [0, 1, 4, 8], ids=["nothing", "encrypted", "4", "8"])
@pytest.mark.parametrize("blob_type", ["PKCS8_PRIVATEKEY", "ECCPRIVATEBLOB", "PRIVATEBLOB"])
def test_the_worker_keeps_what_must_not_leave(
    client: RawClient, policy: int, blob_type: str
) -> None:
    channel, slot = loaded(client, export_policy=policy)

    answer = channel.call(ExportPrivate(slot, blob_type, b""))

    assert isinstance(answer, Failure)
    assert status_name(answer.status) == "NTE_NOT_SUPPORTED"


@pytest.mark.parametrize(
    "operation",
    [
        lambda slot: Decrypt(slot, bytes(256), EncryptionPadding(2)),
        lambda slot: Derive(slot, POINT, Derivation("HASH", (), 0, 0)),
        lambda slot: Encipher(slot, b"m", GCM),
        lambda slot: Decipher(slot, bytes(32), GCM),
        lambda slot: ExportPrivate(slot, "PKCS8_PRIVATEKEY", b""),
    ],
    ids=["Decrypt", "Derive", "Encipher", "Decipher", "ExportPrivate"],
)
def test_a_forged_slot_is_no_key_for_any_operation(
    client: RawClient, operation: Callable[[int], Any]
) -> None:
    channel, slot = loaded(client, export_policy=3)

    for forged in (slot + 1, 0, -1):
        assert channel.status(operation(forged)) == Status.KEYISO_E_STALE


@pytest.mark.parametrize(
    "padding",
    [
        Padding(2, "SHA256", 0),
        Padding(8, "SHA256", 32),
        Padding(99, "", 0),
        Padding(0, "SHA256", 0),
        Padding(0, "", -1),
    ],
)
def test_a_padding_that_does_not_fit_the_key(
    client: RawClient, padding: Padding, name: str
) -> None:
    created(client, name)
    channel, attached = client.attach()
    slot = opened(client, name, attached).slot

    assert channel.status(Sign(slot, DIGEST, padding)) == Status.NTE_INVALID_PARAMETER


@pytest.mark.parametrize("where", ["control", "channel"])
def test_a_client_that_does_not_read(
    client: RawClient, connect: Connect, where: str, name: str
) -> None:
    """The service stops reading from it, too, and serves others meanwhile; and it is not lost."""
    created(client, name)
    deaf, polite = client, connect()
    operation: Any = FindKey(PROVIDER, "user", units(name))
    if where == "channel":
        deaf, attached = client.attach()
        operation = Sign(opened(client, name, attached).slot, DIGEST, Padding())
        polite = channel_to(connect(), attached.worker_instance)
    hops = (Hop("application", 1, "x" * limits.HOP_TEXT_BYTES),)
    calls = (message(Call(n, operation, "", hops)) for n in itertools.count(1000))

    unsent, without_progress = b"", 0
    deaf.socket.setblocking(False)
    while without_progress < 20:
        without_progress += 1
        with contextlib.suppress(BlockingIOError):
            while True:
                unsent = unsent or next(calls)
                unsent = unsent[deaf.socket.send(unsent) :]
                without_progress = 0
        assert not isinstance(polite.call(polite.harmless), Failure)

    deaf.socket.setblocking(True)
    assert isinstance(deaf.receive(), Return)


def channel_to(client: RawClient, worker_instance: bytes) -> RawClient:
    """A key channel to a certain worker: they are given out in turn."""
    while True:
        channel, attached = client.attach()
        if attached.worker_instance == worker_instance:
            return channel


def test_more_calls_at_once_than_are_allowed(greeted: RawClient) -> None:
    """A flood that comes in one piece is refused before any of it is worked on."""
    calls = [message(Call(1000 + n, greeted.harmless)) for n in range(OUTSTANDING_CALLS + 1)]

    greeted.send(b"".join(calls))

    assert str(OUTSTANDING_CALLS) in refused(greeted).cause


# --- ephemeral keys ----------------------------------------------------------------------------


def test_an_ephemeral_blob_opens_for_its_client(client: RawClient) -> None:
    """The counter-example to all that follow."""
    key = created(client)
    channel, attached = client.attach()

    answer = client.call(OpenEphemeral(key.blob, attached.channel_id, attached.worker_instance))

    assert isinstance(answer, Opened)
    assert isinstance(channel.call(Sign(answer.slot, DIGEST, Padding())), Signature)


def test_an_ephemeral_blob_without_its_clients_group(client: RawClient, connect: Connect) -> None:
    """A blob that leaked, to another process of the same user even, opens nothing."""
    key = created(client)
    thief = connect()
    _, attached = thief.attach()

    opening = OpenEphemeral(key.blob, attached.channel_id, attached.worker_instance)

    assert thief.status(opening) == Status.KEYISO_E_EPHEMERAL_GONE
    assert thief.status(ReleaseEphemeral(key.blob)) == Status.KEYISO_E_EPHEMERAL_GONE
    _, own = client.attach()
    still = OpenEphemeral(key.blob, own.channel_id, own.worker_instance)
    assert isinstance(client.call(still), Opened)


def test_a_forged_ephemeral_blob(client: RawClient) -> None:
    """Any byte of it, the group in its header too."""
    key = created(client)
    _, attached = client.attach()
    header = read_header(key.blob)
    (length,) = struct.unpack_from("<I", key.blob, 1)
    forged_header = msgspec.msgpack.encode(replace_group(header, os.urandom(32)))
    forgeries = [
        key.blob[:1]
        + struct.pack("<I", len(forged_header))
        + forged_header
        + key.blob[5 + length :],
        *(flipped(key.blob, place) for place in (1, 5, 5 + length // 2, 5 + length, -17, -1)),
        key.blob[:-1],
        key.blob + b"\0",
    ]

    for blob in forgeries:
        opening = OpenEphemeral(blob, attached.channel_id, attached.worker_instance)
        assert status_name(client.status(opening)) == "NTE_BAD_DATA"


def replace_group(header: Any, group: bytes) -> Any:
    return msgspec.structs.replace(header, client_group=group)


def flipped(blob: bytes, place: int) -> bytes:
    changed = bytearray(blob)
    changed[place] ^= 1
    return bytes(changed)


def test_a_persisted_blob_is_no_ephemeral_one(
    client: RawClient, shared_instance: RunningInstance, name: str
) -> None:
    """Somebody who can read the store cannot have its keys opened around the access list."""
    created(client, name)
    with contextlib.closing(sqlite3.connect(shared_instance.instance.store)) as store:
        ((blob,),) = store.execute("SELECT blob FROM keys WHERE name = ?", (units(name),))
    _, attached = client.attach()

    opening = OpenEphemeral(blob, attached.channel_id, attached.worker_instance)

    assert client.status(opening) == Status.KEYISO_E_EPHEMERAL_GONE


def test_a_released_ephemeral_key_is_gone(client: RawClient) -> None:
    """From slots that hold it, and for the rest of the boot."""
    key = created(client)
    channel, attached = client.attach()
    opening = OpenEphemeral(key.blob, attached.channel_id, attached.worker_instance)
    slot = client.call(opening).slot

    assert client.call(ReleaseEphemeral(key.blob)) == Done()

    assert channel.status(Sign(slot, DIGEST, Padding())) == Status.KEYISO_E_STALE
    assert client.status(opening) == Status.KEYISO_E_EPHEMERAL_GONE


def test_binding_again_under_another_group(client: RawClient) -> None:
    """The keys of the first group are not the second's."""
    key = created(client)
    client.call(Bind(os.urandom(16), "another"))
    _, attached = client.attach()

    opening = OpenEphemeral(key.blob, attached.channel_id, attached.worker_instance)

    assert client.status(opening) == Status.KEYISO_E_EPHEMERAL_GONE


# --- imports -----------------------------------------------------------------------------------


def import_of(client: RawClient, name: str, **changes: Any) -> ImportKey:
    """An import that is right, but for what is changed after it was sealed."""
    pkcs8 = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    worker = client.call(GetImportKey())
    wanted = terms(name, algorithm="", bits=0, usage=2)
    sealed = seal_import(pkcs8, worker.public_key, wanted)
    sent = msgspec.structs.replace(wanted, **changes)
    return ImportKey(sent, worker.worker_instance, sealed)


def test_an_import_under_the_terms_it_was_sealed_for(client: RawClient, name: str) -> None:
    wanted = import_of(client, name)

    answer = client.call(wanted)

    assert answer.header.origin == "imported-sealed"
    assert client.call(wanted) == answer


@pytest.mark.parametrize(
    "change",
    [{"usage": 0xFFFFFF}, {"export_policy": 3}, {"scope": "machine"}, {"overwrite": True}],
    ids=lambda change: next(iter(change)),
)
def test_an_import_under_other_terms(client: RawClient, change: dict[str, Any], name: str) -> None:
    """Who is on the way cannot make more of the key than its owner asked for."""
    assert client.status(import_of(client, name, **change)) == Status.NTE_BAD_DATA
    assert not Key.exists(name)


def test_an_import_that_was_changed(client: RawClient, name: str) -> None:
    wanted = import_of(client, name)
    for sealed in (flipped(wanted.sealed, -1), wanted.sealed[:-1], b"\x01", wanted.sealed[:40]):
        changed = msgspec.structs.replace(wanted, sealed=sealed)
        assert status_name(client.status(changed)) == "NTE_BAD_DATA"
    other_version = msgspec.structs.replace(wanted, sealed=b"\x09" + wanted.sealed[1:])
    assert client.status(other_version) == Status.NTE_BAD_VER


def test_an_import_for_another_worker(client: RawClient, name: str) -> None:
    """One that ended, or holds another import key, cannot open it: the client asks again."""
    wanted = import_of(client, name)
    _, attached = client.attach()

    nobody = msgspec.structs.replace(wanted, worker_instance=os.urandom(16))
    assert client.status(nobody) == Status.KEYISO_E_STALE
    other = msgspec.structs.replace(wanted, worker_instance=attached.worker_instance)
    assert client.status(other) == Status.NTE_BAD_DATA


# --- descriptors -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4, 20])
def test_descriptors_that_nobody_asked_for(
    greeted: RawClient, shared_instance: RunningInstance, count: int
) -> None:
    """They are not kept: a client cannot fill a service's table."""
    services = [pid for name, pid in shared_instance.pids().items() if name != "supervisor"]
    call, rounds = message(Call(1000, greeted.harmless)), 50

    def open_descriptors() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in services)

    before = open_descriptors()
    for _ in range(rounds):
        socket.send_fds(greeted.socket, [call], [greeted.socket.fileno()] * count)
        assert isinstance(greeted.receive(), Return)

    # Connections of earlier tests may still be ending; what is kept would be far more.
    assert open_descriptors() < before + rounds // 2


def test_found_says_no_more_than_the_header(client: RawClient, name: str) -> None:
    """The public part of a key, for who may use it; the blob stays where it is."""
    key = created(client, name)

    found = client.call(FindKey(PROVIDER, "user", units(name)))

    assert isinstance(found, Found)
    assert found.header == key.header
    assert key.blob == b""
