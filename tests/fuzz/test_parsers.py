"""Every parser that reads bytes of another process: bad inputs have documented errors.

``KEYISO_FUZZ_INPUTS`` is how many inputs each parser gets, ``KEYISO_FUZZ_SEED`` repeats a run;
the seed is in the test's name, and a failure shows the input.
"""

import os
import random
import struct
import typing
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

from keyiso import limits, router
from keyiso.crypto.agreement import Derivation, KdfParameter
from keyiso.crypto.algorithms import ALGORITHMS
from keyiso.crypto.ciphers import CipherParameters
from keyiso.crypto.encryption import EncryptionPadding
from keyiso.crypto.import_seal import open_import, seal_import
from keyiso.crypto.key_blob import read_header, seal_key, unseal_key
from keyiso.crypto.key_header import KeyHeader, decode_header, encode_header
from keyiso.crypto.key_types import PublicKey
from keyiso.crypto.private_keys import imported_private_key, own_private_key
from keyiso.crypto.public_keys import (
    export_public_blob,
    import_public_blob,
    load_public_key,
    public_key_der,
)
from keyiso.crypto.signatures import Padding
from keyiso.errors import NCryptError
from keyiso.events.channels import DEFAULT_LEVELS, Channels
from keyiso.events.reader import LogReader
from keyiso.events.records import Channel
from keyiso.flags import NCRYPT_ALLOW_ALL_USAGES
from keyiso.names import check_name, decode_name
from keyiso.status import Status
from keyiso.trustlet.roots import machine_root
from keyiso.wire.messages import (
    Call,
    Failure,
    Hello,
    Operation,
    Refusal,
    Return,
    Welcome,
    result_of,
    returned,
)
from keyiso.wire.operations import (
    AddChannel,
    Attach,
    Attached,
    Authenticate,
    Authenticated,
    Bind,
    Bound,
    Created,
    CreateKey,
    Decipher,
    Decrypt,
    DeleteKey,
    Derive,
    Done,
    Encipher,
    EnumKeys,
    EventChannel,
    EventChannels,
    ExportPrivate,
    FailedUse,
    FindKey,
    Found,
    Generate,
    GetEventChannels,
    GetImportKey,
    GetServiceStatus,
    GetSupervisorStatus,
    GetWorkerImportKey,
    GetWorkerStatus,
    Import,
    ImportKey,
    KeyGrant,
    KeyName,
    KeyNames,
    KeyTerms,
    KeyUse,
    Load,
    Opened,
    OpenEphemeral,
    OpenKey,
    Output,
    Ping,
    ProcessStatus,
    Release,
    ReleaseEphemeral,
    RenewLease,
    ReportProviderFailure,
    Revoke,
    Sealed,
    ServiceStatus,
    SetEventChannel,
    Sign,
    Signature,
    Signatures,
    SignBatch,
    Stop,
    SupervisorStatus,
    TakeUses,
    Uses,
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
from tests.fuzz.mutations import mutated
from tests.unit.samples import (
    CURVES,
    ROOT,
    UNIONS,
    ec_key,
    header,
    hops,
    pkcs8,
    result_type,
    rsa_key,
)
from tests.unit.samples import OPERATIONS as EVERY_OPERATION

INPUTS = int(os.environ.get("KEYISO_FUZZ_INPUTS", "2000"))
SEED = int(os.environ.get("KEYISO_FUZZ_SEED", str(random.SystemRandom().randrange(1 << 32))))

Outcome = type[BaseException] | int
"""How an input ended: an exception's class, or the status of an `NCryptError`."""


@dataclass(frozen=True)
class Parser:
    """A parser, good inputs for it, and how bad ones may end."""

    name: str
    parse: Callable[[bytes], object]
    corpus: Sequence[bytes]
    documented: frozenset[Outcome]
    once_broken: dict[Outcome, bytes] = field(default_factory=dict)
    """Inputs that once had an undocumented outcome, by that outcome."""
    cost: int = 1
    """So many times fewer inputs than the others get."""

    def outcome(self, data: bytes) -> Outcome | None:
        """How an input ends; None when it is taken."""
        try:
            self.parse(data)
        except KeyboardInterrupt:
            raise
        except RemoteProtocolError:
            return RemoteProtocolError
        except NCryptError as error:
            return error.status
        except BaseException as error:  # a panic of a library is no Exception
            return type(error)
        return None


def statuses(*known: Status) -> frozenset[Outcome]:
    return frozenset(int(status) for status in known)


NESTED = b"\x91" * 20_000 + b"\xc0"

# --- the wire ----------------------------------------------------------------------------------

TERMS = KeyTerms(b"o" * 16, "provider", "user", 1000, b"a\0", "persisted", "RSA", 2048, 2, 0, False)
CALL = Call(9, Ping(), "00-" + "a" * 52, hops(3))

OPERATIONS: dict[str, list[Operation[Any]]] = {
    "control": [
        Bind(b"g" * 16, "nginx"),
        Attach((b"i" * 16,)),
        OpenKey("provider", "user", b"a\0", b"c" * 16, b"i" * 16),
        OpenEphemeral(b"blob" * 50, b"c" * 16, b"i" * 16),
        FindKey("provider", "machine", b"a\0"),
        CreateKey(TERMS),
        GetImportKey(),
        ImportKey(TERMS, b"i" * 16, b"sealed" * 50),
        DeleteKey(b"o" * 16, "provider", "user", b"a\0", b"k" * 16),
        ReleaseEphemeral(b"blob" * 50),
        EnumKeys("provider", "user", b""),
        GetServiceStatus(),
        ReportProviderFailure("provider", 0x80090011),
        SetEventChannel("KeyMgmt", 4),
        GetEventChannels(),
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
        AddChannel(b"c" * 16, 1000, 4711, "nginx"),
        Load(b"c" * 16, 1000, b"blob" * 50),
        Generate(TERMS, KeyGrant(header().access, 1, b"")),
        Import(TERMS, KeyGrant((), 1, b"g" * 32), b"sealed" * 50),
        GetWorkerImportKey(),
        Revoke((b"k" * 16, b"l" * 16)),
        GetWorkerStatus(),
        Authenticate(b"blob" * 50),
        RenewLease(),
        TakeUses(),
    ],
    "supervision": [GetSupervisorStatus(), Stop()],
}
"""One call of every operation, by the kind of connection."""

WORKER_STATUS = WorkerStatus("software-0", 1, b"i" * 16, 2, 3, 4, 5, 6)

FAILED_USE = FailedUse(
    *(1000, 4711, "nginx", "provider", "user", b"a\0", b"k" * 16, "RSA", "Sign", 1, 2, "00-trace"),
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
    (GetEventChannels(), EventChannels((EventChannel("KeyMgmt", 4),))),
    (TakeUses(), Uses((KeyUse(b"k" * 16, "Sign", 3),), (FAILED_USE,), 1)),
    (Ping(), Done()),
    (Sign(1, b"d" * 32, Padding()), Signature(b"s" * 256)),
    (ExportPrivate(1, "PKCS8_PRIVATEKEY", b""), Output(b"o" * 100)),
    (SignBatch(1, (b"d" * 32,), Padding()), Signatures((b"s" * 64,))),
    (Generate(TERMS, KeyGrant((), 1, b"")), Sealed(b"blob" * 50, header())),
    (GetWorkerStatus(), WORKER_STATUS),
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


def new_session(role: Role, operations: Any) -> Session:
    decoder = client_decoder() if role is Role.CLIENT else server_decoder(operations)
    return Session(role, decoder, frame_bytes=limits.KEY_FRAME_BYTES)


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
    """In two pieces, at a place that the bytes decide. A session that complained is broken."""
    place = zlib.crc32(data) % (len(data) + 1)
    try:
        for piece in (data[:place], data[place:]):
            session.receive(piece)
    except RemoteProtocolError:
        assert session.state is State.BROKEN
        raise
    assert session.state is not State.BROKEN


def session_parsers() -> list[Parser]:
    answers = [
        frame(returned(1, Signature(b"s" * 64))),
        frame(returned(2, Found(header(), 1.5))),
        frame(Failure(3, Status.NTE_PERM, "cause", "action", hops(3))),
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


# --- sealed keys -------------------------------------------------------------------------------

BLOBS = [
    seal_key(ROOT, header(), pkcs8()),
    seal_key(ROOT, header(access=(), name=b"x\0" * 260, key_id=b"K" * 16), pkcs8(rsa_key())),
]
HEADERS = [
    encode_header(header()),
    encode_header(header(access=(), name=b"", client_group=b"g" * 32)),
]
WORKER = x25519.X25519PrivateKey.generate()
SEALED = [seal_import(pkcs8(), WORKER.public_key().public_bytes_raw(), TERMS)]


def deep_header() -> bytes:
    """A header with one field more, in which arrays are nested."""
    count = len(KeyHeader.__struct_fields__)
    return struct.pack(">BH", 0xDC, count + 1) + HEADERS[0][3:] + NESTED


def odd_header() -> bytes:
    return msgspec.msgpack.encode(header(name=b"odd"))


def in_blob(encoded: bytes) -> bytes:
    return struct.pack("<BI", 1, len(encoded)) + encoded + bytes(12 + 16)


def unseal(data: bytes) -> None:
    """What opens is what was sealed."""
    unseal_key(ROOT, data)
    assert data in BLOBS


def open_sealed(data: bytes) -> None:
    open_import(data, WORKER, TERMS)
    assert data in SEALED


def key_parsers() -> list[Parser]:
    damaged = statuses(Status.NTE_BAD_DATA, Status.NTE_BAD_VER)
    known_headers: dict[Outcome, bytes] = {
        RecursionError: deep_header(),
        int(Status.NTE_INVALID_PARAMETER): odd_header(),
    }
    known_blobs = {outcome: in_blob(data) for outcome, data in known_headers.items()}
    blobs = [*BLOBS, *known_blobs.values()]
    return [
        Parser(
            "decode_header",
            decode_header,
            [*HEADERS, *known_headers.values()],
            statuses(Status.NTE_BAD_DATA),
            known_headers,
        ),
        Parser("read_header", read_header, blobs, damaged, known_blobs),
        Parser("unseal_key", unseal, blobs, damaged, known_blobs),
        Parser(
            "open_import",
            open_sealed,
            SEALED,
            damaged | statuses(Status.KEYISO_E_LIMIT),
        ),
    ]


# --- keys --------------------------------------------------------------------------------------

P256 = bytes.fromhex("2a8648ce3d030107")
UNKNOWN_CURVE = bytes.fromhex("2a8648ce3d030155")

EDWARDS = ed25519.Ed25519PrivateKey.generate()

PUBLIC_KEYS: list[PublicKey] = [
    rsa_key().public_key(),
    *(ec_key(name).public_key() for name in CURVES),
    EDWARDS.public_key(),
]


def other_keys() -> list[bytes]:
    """Keys in DER that are no keys of keyiso."""
    return [
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        for key in (
            x25519.X25519PrivateKey.generate().public_key(),
            ec.generate_private_key(ec.SECP256K1()).public_key(),
        )
    ]


def import_blob(data: bytes) -> None:
    """What is taken is a key, and can be given back."""
    key, algorithm = import_public_blob(data)
    again, _ = import_public_blob(export_public_blob(key, algorithm.group, "PUBLICBLOB"))
    assert public_key_der(again) == public_key_der(key)


def public_key_parsers() -> list[Parser]:
    der = [public_key_der(key) for key in PUBLIC_KEYS]
    return [
        Parser(
            "import_public_blob",
            import_blob,
            [
                export_public_blob(key, group, "PUBLICBLOB")
                for key in PUBLIC_KEYS
                for group in ("ECDSA", "ECDH")
            ],
            statuses(Status.NTE_BAD_DATA, Status.NTE_INVALID_PARAMETER),
        ),
        Parser(
            "load_public_key",
            load_public_key,
            [*der, *other_keys()],
            statuses(Status.NTE_BAD_DATA, Status.NTE_NOT_SUPPORTED),
            {UnsupportedAlgorithm: der[1].replace(P256, UNKNOWN_CURVE)},
        ),
    ]


def import_any(data: bytes) -> object:
    return imported_private_key(data, NCRYPT_ALLOW_ALL_USAGES)


def private_key_parsers() -> list[Parser]:
    curves = [*(pkcs8(ec_key(name)) for name in CURVES), pkcs8(EDWARDS)]
    refused = statuses(Status.NTE_BAD_DATA, Status.NTE_NOT_SUPPORTED)
    public = public_key_der(ec_key().public_key())
    return [
        Parser("imported_private_key, curves", import_any, curves, refused),
        Parser("imported_private_key, RSA", import_any, [pkcs8(rsa_key())], refused, cost=20),
        Parser(
            "own_private_key",
            lambda data: own_private_key(data, ALGORITHMS["ECDSA_P256"], public),
            curves,
            refused,
        ),
    ]


# --- names and files ---------------------------------------------------------------------------


def name(data: bytes) -> None:
    """What passes is a string and gives its bytes back."""
    check_name(data)
    assert decode_name(data).encode("utf-16-le", "surrogatepass") == data


def name_parser() -> Parser:
    return Parser(
        "check_name",
        name,
        [b"a\0", "Schlüssel 𝔸".encode("utf-16-le"), b"\x00\xd8", b"x\0" * 260, b"x\0" * 261],
        statuses(Status.NTE_INVALID_PARAMETER),
    )


def root_parser(path: Path) -> Parser:
    good = msgspec.msgpack.encode(("machine", b"r" * 16, b"s" * 32, b""))

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        assert machine_root(path, may_create=False) is not None

    known: dict[Outcome, bytes] = {
        RecursionError: b"\1\x95" + good[1:] + NESTED,
        UnicodeDecodeError: b"\1" + good.replace(b"machine", b"mach\xffne"),
    }
    return Parser(
        "a root file",
        parse,
        [b"\1" + good, *known.values()],
        statuses(Status.NTE_BAD_VER, Status.NTE_BAD_DATA),
        known,
    )


def registration_parser(home: Path) -> Parser:
    directory = home / "config" / "providers.d"
    directory.mkdir(parents=True)
    registered = router.Router({"KEYISO_HOME": str(home)})

    def parse(data: bytes) -> None:
        (directory / "Some Provider.toml").write_bytes(data)
        (found,) = [one for one in registered.registrations() if one.name == "Some Provider"]
        assert isinstance(found.image, str)
        assert isinstance(found.comment, str)

    deep = b"x = " + b"[" * 5_000
    return Parser(
        "a provider's registration",
        parse,
        [
            b'image = "package.module"\n',
            b'# A.\nimage = "a.b"\ncomment = """\nTwo\nlines"""\n[more]\nx = [1, {y = 2}]\n',
            b"image = 7\n",
            b'comment = ["x"]\nimage = "a"\n',
            deep,
        ],
        statuses(Status.NTE_PROV_TYPE_ENTRY_BAD),
        {RecursionError: deep},
    )


def channels_parser(directory: Path) -> Parser:
    """The file of the event channels: whatever is in it, there are channels."""

    def parse(data: bytes) -> None:
        (directory / "channels").write_bytes(data)
        told: list[str] = []
        levels = Channels(directory, told.append).levels
        assert set(levels) == set(Channel)
        assert not told or levels == DEFAULT_LEVELS

    return Parser(
        "the event channels",
        parse,
        [
            b"1\nOperational verbose\nKeyMgmt off\n",
            b"1\n",
            b"2\nOperational off\n",
            b"1\nKeyMgmt \n",
        ],
        frozenset(),
    )


def log_parser(directory: Path) -> Parser:
    """Lines of the event log: what is no event is counted, and the last line is read."""
    good = (
        b'{"time": "2026-08-01T12:00:00.000+00:00", "provider": "p", "event_id": 3, "channel":'
        b' "Operational", "level": "error", "task": 3, "message": "m", "uid": 1000, "count": 2,'
        b' "chain": ["a[1] f"], "data": {"KeyName": "a\\u202eb", "Status": 2148073494}}\n'
    )

    def parse(data: bytes) -> None:
        (directory / "events.jsonl").write_bytes(data + b"\n" + good)
        reader = LogReader(directory)
        *_, (record, line) = reader.read()
        reader.close()
        assert (record.count, line + b"\n") == (2, good)

    return Parser(
        "the event log", parse, [good, good * 3, b"[" * 5_000, b'{"a":' * 2_000], frozenset()
    )


# --- the tests ---------------------------------------------------------------------------------


def test_every_operation_and_every_result_is_among_the_good_inputs() -> None:
    asked = {name: {type(one) for one in found} for name, found in OPERATIONS.items()}
    answers = {type(answer) for _, answer in RESULTS}

    assert asked == {name: set(typing.get_args(union)) for name, union in UNIONS.items()}
    assert answers == {result_type(operation) for _, operation in EVERY_OPERATION}
    assert all(isinstance(answer, result_type(type(asked))) for asked, answer in RESULTS)


def fuzz(parser: Parser) -> None:
    """Give a parser what is known to be bad for it, and many mutations."""
    for defect, data in parser.once_broken.items():
        assert parser.outcome(data) != defect, "this defect is back"
    rng = random.Random(f"{SEED} {parser.name}")
    allowed = {None, *parser.documented}
    for _ in range(max(1, INPUTS // parser.cost)):
        data = mutated(rng, parser.corpus)
        outcome = parser.outcome(data)
        if outcome not in allowed:
            pytest.fail(
                f"{parser.name} ended with {outcome!r} (KEYISO_FUZZ_SEED={SEED})"
                f" for {data[:2000].hex()}"
            )


def has_a_good_input(parser: Parser) -> None:
    """A corpus of which nothing is taken would test one line of the parser."""
    good = [data for data in parser.corpus if parser.outcome(data) is None]
    assert good, f"{parser.name} takes none of its good inputs"


PARSERS = [
    *session_parsers(),
    *(result_parser(operation, result) for operation, result in RESULTS),
    *key_parsers(),
    *public_key_parsers(),
    *private_key_parsers(),
    name_parser(),
]


@pytest.mark.parametrize(
    "parser", [pytest.param(one, id=f"{one.name}, seed {SEED}") for one in PARSERS]
)
def test_bad_bytes_have_documented_errors(parser: Parser) -> None:
    has_a_good_input(parser)
    fuzz(parser)


@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")
def test_a_bad_root_file_has_a_documented_error(tmp_path: Path, seed: int) -> None:
    parser = root_parser(tmp_path / "root")
    has_a_good_input(parser)
    fuzz(parser)


@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")
def test_a_bad_registration_has_a_documented_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(router, "_entry_points", tuple)  # what is installed does not change
    parser = registration_parser(tmp_path)
    has_a_good_input(parser)
    fuzz(parser)


@pytest.mark.parametrize("make", [channels_parser, log_parser], ids=lambda make: make.__name__)
@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")
def test_a_bad_file_of_the_event_log_is_no_error(
    tmp_path: Path, make: Callable[[Path], Parser], seed: int
) -> None:
    parser = make(tmp_path)
    has_a_good_input(parser)
    fuzz(parser)
