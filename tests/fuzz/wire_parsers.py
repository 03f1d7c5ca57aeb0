"""Frames, and the results in them."""

import functools
import struct
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from keyiso import limits
from keyiso.crypto.agreement import Derivation, KdfParameter
from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.encryption import EncryptionPadding
from keyiso.crypto.signatures import Padding
from keyiso.errors import ncrypt_error
from keyiso.status import Status
from keyiso.wire.channel import (
    Decipher,
    Decrypt,
    Derive,
    Encipher,
    ExportPrivate,
    Output,
    Ping,
    Release,
    Sign,
    Signature,
    Signatures,
    SignBatch,
)
from keyiso.wire.control import (
    Attach,
    Attached,
    AwaitChange,
    Bind,
    Bindings,
    Bound,
    BoundProcess,
    BoundWorker,
    Changes,
    Created,
    CreateKey,
    DeleteKey,
    EnumKeys,
    EventChannel,
    EventChannels,
    FindKey,
    Found,
    GetBindings,
    GetEventChannels,
    GetImportKey,
    GetIsolation,
    GetProperty,
    GetServiceStatus,
    ImportKey,
    KeyName,
    KeyNames,
    NotResealed,
    OpenEphemeral,
    OpenKey,
    ReleaseEphemeral,
    ReportProviderFailure,
    ResealedKeys,
    ResealKeys,
    ServiceStatus,
    SetAccess,
    SetEventChannel,
    SetProperty,
)
from keyiso.wire.key_terms import KeyGrant, KeyProperty, KeyTerms
from keyiso.wire.link import (
    AddChannel,
    Authenticate,
    Authenticated,
    ChangeAccess,
    ChannelHolder,
    ChannelHolders,
    FailedUse,
    Generate,
    GetChannels,
    GetWorkerImportKey,
    GetWorkerIsolation,
    GetWorkerStatus,
    Import,
    KeyUse,
    Load,
    OpenProperty,
    RenewLease,
    Reseal,
    ResealProperty,
    Revoke,
    Sealed,
    SealProperty,
    TakeUses,
    Uses,
)
from keyiso.wire.messages import (
    Call,
    Failure,
    Hello,
    Operation,
    Refusal,
    Return,
    Span,
    Welcome,
    result_of,
    returned,
)
from keyiso.wire.multiplexer import Came, Multiplexer, Side
from keyiso.wire.pair import SharedRoots, ShareRoots
from keyiso.wire.passport import (
    AttemptPin,
    ChangePin,
    ContainerState,
    EnrolPin,
    GetContainer,
    MakePinKey,
    PinKey,
    RequestReset,
    ResetPin,
    ResetRequested,
    SealedPin,
    SetResetKey,
    Ticket,
    UnlockPin,
)
from keyiso.wire.passport_services import BindFor, SignHash
from keyiso.wire.results import (
    Done,
    Isolation,
    Opened,
    PropertyValue,
    ShieldFinding,
    WorkerImportKey,
    WorkerStatus,
)
from keyiso.wire.session import (
    RemoteProtocolError,
    Role,
    Session,
    State,
    client_decoder,
    server_decoder,
)
from keyiso.wire.supervision import (
    GetSupervisorStatus,
    ProcessStatus,
    ReplacePairs,
    StartService,
    Stop,
    StopService,
    SupervisorStatus,
)
from tests.fuzz.parser import Outcome, Parser
from tests.unit.samples import UNIONS, header, hops

NESTED = b"\x91" * 20_000 + b"\xc0"
"""Arrays in arrays, deeper than any decoder goes."""

TERMS = KeyTerms(b"o" * 16, "provider", "user", 1000, b"a\0", "persisted", "RSA", 2048, 2, 0, False)
CALL = Call(9, Ping(), "00-" + "a" * 52, hops(3), tell=True)
SPANS = (Span("keyiso", 1, "OpenKey", 0.5), Span("software-0", 2, "Load", 0.25, 1, 1))

SEALED_PIN = SealedPin(b"k" * 32, b"s" * 177)

PASSPORT: list[Operation[Any]] = [
    MakePinKey(1000, "verify", b"a" * 16),
    EnrolPin(1000, b"a" * 16, SEALED_PIN),
    AttemptPin(1000, b"a" * 16, SEALED_PIN, "use"),
    ChangePin(1000, b"a" * 16, SEALED_PIN, SEALED_PIN),
    ResetPin(1000, b"a" * 16, SEALED_PIN),
    GetContainer(1000),
    SetResetKey(1000, b"a" * 16, SEALED_PIN, b"k" * 32),
    RequestReset(1000),
    UnlockPin(1000, b"a" * 16, SEALED_PIN, b"answer" * 20),
]

OPERATIONS: dict[str, list[Operation[Any]]] = {
    "control": [
        Bind(b"g" * 16, "nginx"),
        Attach((b"i" * 16,)),
        OpenKey("provider", "user", b"a\0", b"c" * 16, b"i" * 16),
        OpenEphemeral(b"blob" * 50, b"c" * 16, b"i" * 16),
        FindKey("provider", "machine", b"a\0"),
        CreateKey(TERMS, (KeyProperty(b"n\0", b"value"),)),
        GetImportKey(),
        ImportKey(TERMS, b"i" * 16, b"sealed" * 50),
        DeleteKey(b"o" * 16, "provider", "user", b"a\0", b"k" * 16),
        ReleaseEphemeral(b"blob" * 50),
        EnumKeys("provider", "user", b""),
        GetServiceStatus(),
        GetIsolation(),
        SetProperty(b"o" * 16, "provider", "user", b"a\0", b"k" * 16, b"n\0", b"value" * 9),
        GetProperty("provider", "user", b"a\0", b"k" * 16, b"n\0"),
        SetAccess(b"o" * 16, "provider", "user", b"a\0", b"k" * 16, header().access),
        AwaitChange("machine", -1),
        ReportProviderFailure("provider", 0x80090011),
        SetEventChannel("KeyMgmt", 4),
        GetEventChannels(),
        GetBindings(),
        ResealKeys(b"r" * 16, b"k" * 16),
        *PASSPORT,
    ],
    "channel": [
        Ping(),
        Sign(1, b"d" * 32, Padding(8, "SHA256", 32)),
        Release(1),
        Decrypt(1, b"c" * 256, EncryptionPadding(4, "SHA256", b"label")),
        Derive(1, b"der" * 30, Derivation("HKDF", (KdfParameter(20, b"info"),), 0, 32)),
        Encipher(1, b"message", CipherParameters("ChainingModeGCM", b"n" * 12, b"a")),
        Decipher(1, b"c" * 32, CipherParameters("ChainingModeCBC", b"v" * 16, b"", True)),
        ExportPrivate(1, "PKCS8_PRIVATEKEY", b"password"),
        SignBatch(1, (b"d" * 32, b"e" * 32), Padding()),
    ],
    "link": [
        AddChannel(b"c" * 16, 1000, 4711, "nginx", b"n" * 16),
        Load(b"c" * 16, 1000, b"blob" * 50),
        Generate(TERMS, KeyGrant(header().access, 1, b"")),
        Import(TERMS, KeyGrant((), 1, b"g" * 32), b"sealed" * 50),
        GetWorkerImportKey(),
        Revoke((b"k" * 16, b"l" * 16)),
        GetWorkerStatus(),
        GetWorkerIsolation(),
        Authenticate(b"blob" * 50),
        RenewLease(),
        SealProperty(b"blob" * 50, b"n\0", b"value"),
        OpenProperty(b"blob" * 50, b"n\0", b"sealed" * 9),
        ChangeAccess(b"blob" * 50, header().access),
        Reseal(b"blob" * 50, b"r" * 16),
        ResealProperty(b"blob" * 50, b"r" * 16, b"n\0", b"sealed" * 9),
        TakeUses(),
        GetChannels(1000),
        *PASSPORT,
    ],
    "pair": [ShareRoots(b"k" * 32)],
    "supervision": [
        GetSupervisorStatus(),
        Stop(),
        ReplacePairs(),
        StopService("passport"),
        StartService("passport"),
    ],
}
"""One call of every operation, by the kind of connection."""

for _name in ("passport service", "container service", "served"):
    OPERATIONS[_name] = [
        one
        for one in (
            *OPERATIONS["control"],
            BindFor("nginx"),
            SignHash(
                *("provider", "user", b"a\0", b"k" * 16, b"f" * 32, b"t" * 16, b"d" * 32),
                Padding(8, "SHA256", 32),
            ),
        )
        if isinstance(one, UNIONS[_name])
    ]

WORKER_STATUS = WorkerStatus("software-0", 1, b"i" * 16, 2, 3, 4, 5, 6)

FAILED_USE = FailedUse(
    *(1000, 4711, "nginx", "provider", "user", b"a\0", b"k" * 16, "RSA", "Sign", 1, 2, "00-trace"),
)

ISOLATION = Isolation(
    "armed",
    "",
    "",
    (ShieldFinding("secretmem", "yes", "25 MiB"),),
    "degraded",
    "present",
    "why",
    "do",
)

RESULTS: list[tuple[Operation[Any], Any]] = [
    (Bind(b"g" * 16, "nginx"), Bound(1000, 2)),
    (Attach(()), Attached(b"c" * 16, "software-0", b"i" * 16)),
    (OpenKey("provider", "user", b"a\0", b"c" * 16, b"i" * 16), Opened(7, header())),
    (FindKey("provider", "machine", b"a\0"), Found(header(), 1.5)),
    (CreateKey(TERMS), Created(header(), b"blob" * 50)),
    (GetImportKey(), WorkerImportKey(b"i" * 16, b"k" * 32)),
    (
        EnumKeys("provider", "user", b""),
        KeyNames((KeyName(b"a\0", "RSA"), KeyName(b"b\0", "")), b"b\0"),
    ),
    (GetServiceStatus(), ServiceStatus(1, b"i" * 16, 2, (WORKER_STATUS,), 1, 2, 3, 4)),
    (
        GetProperty("provider", "user", b"a\0", b"k" * 16, b"n\0"),
        PropertyValue(b"value" * 9),
    ),
    (AwaitChange("machine", -1), Changes(7)),
    (GetEventChannels(), EventChannels((EventChannel("KeyMgmt", 4),))),
    (
        GetBindings(),
        Bindings(
            b"i" * 16,
            (BoundProcess(4711, 1000, "nginx", 1, (BoundWorker("software-0", b"i" * 16, 2),)),),
            3,
        ),
    ),
    (
        ResealKeys(b"r" * 16, b""),
        ResealedKeys(b"k" * 16, 3, 4, (NotResealed(1000, b"a\0", Status.NTE_BAD_DATA),)),
    ),
    (MakePinKey(1000, "new", b"a" * 16), PinKey(b"c" * 16, b"k" * 32)),
    (AttemptPin(1000, b"a" * 16, SEALED_PIN, "use"), Ticket(b"t" * 16)),
    (GetContainer(1000), ContainerState(b"c" * 16, "software", 5, 0, False, ("rollback",))),
    (RequestReset(1000), ResetRequested(b"r" * 200)),
    (GetChannels(-1), ChannelHolders((ChannelHolder(1000, 4711, "nginx", 2),), 3)),
    (TakeUses(), Uses((KeyUse(b"k" * 16, "Sign", 3),), (FAILED_USE,), 1)),
    (SignBatch(1, (b"d" * 32,), Padding()), Signatures((b"s" * 64,))),
    (Ping(), Done()),
    (Sign(1, b"d" * 32, Padding()), Signature(b"s" * 256)),
    (ExportPrivate(1, "PKCS8_PRIVATEKEY", b""), Output(b"o" * 100)),
    (Generate(TERMS, KeyGrant((), 1, b"")), Sealed(b"blob" * 50, header())),
    (GetWorkerStatus(), WORKER_STATUS),
    (GetIsolation(), ISOLATION),
    (ShareRoots(b"k" * 32), SharedRoots(b"s" * 200, 1, "cause", "action")),
    (Authenticate(b"blob"), Authenticated(header())),
    (
        GetSupervisorStatus(),
        SupervisorStatus(1, True, 1.5, (ProcessStatus("keyiso", 2, 0, 1, 2.5),)),
    ),
]
"""One result of every kind, with an operation that it answers."""


def frame(message: object) -> bytes:
    body = msgspec.msgpack.encode(message)
    return struct.pack("<I", len(body)) + body


def reframed(data: bytes) -> bytes:
    """One frame with the right length, so that what is inside of it gets looked at."""
    return struct.pack("<I", max(0, len(data) - 4)) + data[4:]


@functools.cache
def decoder(role: Role, operations: Any) -> msgspec.msgpack.Decoder[Any]:
    return client_decoder() if role is Role.CLIENT else server_decoder(operations)


def new_session(role: Role, operations: Any) -> Session:
    return Session(role, decoder(role, operations), frame_bytes=limits.KEY_FRAME_BYTES)


def ready_client() -> Session:
    session = new_session(Role.CLIENT, None)
    session.hello("fuzz")
    session.receive(frame(Welcome(1, "fuzz", b"i" * 16, b"b" * 16, 1)))
    for call_id in range(1, 6):
        session.send(Call(call_id, Ping()))
    return session


def greeting_client() -> Session:
    session = new_session(Role.CLIENT, None)
    session.hello("fuzz")
    return session


def ready_server(operations: Any) -> Session:
    session = new_session(Role.SERVER, operations)
    (hello,) = session.receive(frame(Hello(1, 1, "fuzz")))
    assert isinstance(hello, Hello)
    session.welcome(hello, service="fuzz", instance_id=b"i" * 16, boot_id=b"b" * 16, pid=1)
    return session


def receive(session: Session, data: bytes) -> None:
    """In two pieces, at a place that the bytes decide. A session that complained is broken, and
    an error that came can be raised and printed.
    """
    place = zlib.crc32(data) % (len(data) + 1)
    try:
        for piece in (data[:place], data[place:]):
            for message in session.receive(piece):
                if isinstance(message, Failure):
                    str(ncrypt_error(message.status, message.cause, message.action, message.chain))
    except RemoteProtocolError:
        assert session.state is State.BROKEN
        raise
    assert session.state is not State.BROKEN


def session_parsers() -> list[Parser]:
    answers = [
        frame(returned(1, Signature(b"s" * 64), SPANS)),
        frame(returned(2, Found(header(), 1.5))),
        frame(Failure(3, Status.NTE_PERM, "cause", "action", hops(3), SPANS)),
        frame(Refusal(Status.NTE_PERM, "cause", "action")),
        frame(returned(4, Done())) + frame(returned(5, Done())),
    ]
    found: list[tuple[str, Callable[[], Session], list[bytes]]] = [
        (
            "a client that greets",
            greeting_client,
            [frame(Welcome(1, "fuzz", b"i" * 16, b"b" * 16, 1, ("x",))), answers[3]],
        ),
        ("a client that asked", ready_client, answers),
        (
            "a server at the start",
            lambda: new_session(Role.SERVER, UNIONS["channel"]),
            [frame(Hello(1, 1, "fuzz", ("x", "y"))), frame(CALL)],
        ),
    ]
    for name, operations in OPERATIONS.items():
        calls = [Call(number, one, "", hops(2)) for number, one in enumerate(operations, 1)]
        corpus = [*map(frame, calls), b"".join(map(frame, calls[:3])), frame(CALL)]
        union = UNIONS[name]
        found.append((f"a server of {name}", lambda union=union: ready_server(union), corpus))  # type: ignore[misc]
    return [
        Parser(
            f"{name}, {how}",
            lambda data, start=start, change=change: receive(start(), change(data)),  # type: ignore[misc]
            corpus,
            frozenset({RemoteProtocolError}),
        )
        for name, start, corpus in found
        for how, change in (("bytes", bytes), ("frames", reframed))
    ]


def result_parser(operation: Operation[Any], result: Any) -> Parser:
    """An answer is decoded by who asked."""
    encoded = msgspec.msgpack.encode(result)
    fields = len(msgspec.structs.astuple(result))
    known: dict[Outcome, bytes] = {
        RecursionError: bytes([0x90 + fields + 1]) + encoded[1:] + NESTED
    }
    for text in (b"software-0", b"Microsoft", b"RSA", b"keyiso"):
        if text in encoded:
            known[UnicodeDecodeError] = encoded.replace(text, b"\xff" * len(text))
    return Parser(
        f"the result of {type(operation).__name__}",
        lambda data: result_of(operation, Return(1, msgspec.Raw(data))),
        [encoded, *known.values()],
        frozenset({msgspec.DecodeError, msgspec.ValidationError}),
        known,
    )


def ready_multiplexer(side: Side) -> Multiplexer:
    """With a stream of either side."""
    multiplexer, other = (
        Multiplexer(side, _no_chance),
        Multiplexer(Side(3 - side), _no_chance_there),
    )
    for _ in range(3):
        other.receive(multiplexer.output())
        multiplexer.receive(other.output())
    inside, outside = (multiplexer, other) if side is Side.INSIDE else (other, multiplexer)
    control = inside.open()
    outside.receive(inside.output())
    outside.open(control)
    inside.receive(outside.output())
    return multiplexer


def _no_chance(count: int) -> bytes:
    return b"m" * count


def _no_chance_there(count: int) -> bytes:
    return b"o" * count


def hear(multiplexer: Multiplexer, data: bytes) -> None:
    """Whatever comes, the answer is short, and what is kept is less than a frame."""
    try:
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            for event in multiplexer.receive(piece):
                if isinstance(event, Came):
                    multiplexer.taken(event.stream, len(event.data))
    finally:
        assert len(multiplexer.output()) <= 2 * limits.MUX_FRAME_BYTES + len(data)


def line_parsers() -> list[Parser]:
    def line_frame(kind: int, stream: int, body: bytes = b"") -> bytes:
        return struct.pack("<BIH", kind, stream, len(body)) + body

    hello = b"keyiso streams\r\n" + b"\1" + b"o" * 16 + b"m" * 16
    number = struct.pack("<I", 1)
    frames = [
        line_frame(1, 0, hello),
        line_frame(2, 3, bytes(4)),
        line_frame(3, 4, number),
        line_frame(4, 1, b"data" * 500),
        line_frame(4, 2, b"data"),
        line_frame(5, 1, number),
        line_frame(6, 1),
    ]
    corpus = [*frames, b"".join(frames[3:]), b"\xff" * 4100 + frames[0]]
    return [
        Parser(
            f"{side.name.lower()} of a line, {how}",
            lambda data, side=side, start=start: hear(start(side), data),  # type: ignore[misc]
            corpus,
            frozenset({RemoteProtocolError}),
        )
        for side in Side
        for how, start in (
            ("at the start", lambda side: Multiplexer(side, _no_chance)),
            ("with streams", ready_multiplexer),
        )
    ]


PARSERS = [
    *session_parsers(),
    *line_parsers(),
    *(result_parser(operation, result) for operation, result in RESULTS),
]
