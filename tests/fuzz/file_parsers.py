"""Names, and what is read from files, links and the environment."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import msgspec

from keyiso.crypto.key_blob import read_header
from keyiso.events.channels import DEFAULT_LEVELS, Channels
from keyiso.events.reader import LogReader
from keyiso.events.records import Channel
from keyiso.keyiso_service.access import Authority
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.finding import check_row, listed_key
from keyiso.keyiso_service.key_changes import _change_of
from keyiso.names import check_name, decode_name
from keyiso.paths import Instance, client_instance
from keyiso.router import _from_file
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.store.keys import KeyReader
from keyiso.store.schema import open_database
from keyiso.trustlet.roots import machine_root
from tests.fuzz.key_parsers import BLOBS
from tests.fuzz.parser import Outcome, Parser, statuses
from tests.fuzz.wire_parsers import NESTED
from tests.unit.samples import header


class MemoryFile:
    """A file that is written without a disk."""

    def __init__(self, name: str) -> None:
        self._descriptor = os.memfd_create(name)
        self.path = Path(f"/proc/self/fd/{self._descriptor}")

    def write(self, data: bytes) -> Path:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, data, 0)
        return self.path


def memory_directory() -> Path:
    """A directory for this run, without a disk where there is one in memory."""
    memory = Path("/dev/shm")
    place = memory if os.access(memory, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="keyiso-fuzz-", dir=place))
    atexit.register(shutil.rmtree, directory)
    return directory


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


def root_parser() -> Parser:
    good = msgspec.msgpack.encode(("machine", b"r" * 16, b"s" * 32, b""))
    file = MemoryFile("root")
    known: dict[Outcome, bytes] = {
        RecursionError: b"\1\x95" + good[1:] + NESTED,
        UnicodeDecodeError: b"\1" + good.replace(b"machine", b"mach\xffne"),
    }
    return Parser(
        "a root file",
        lambda data: machine_root(file.write(data), may_create=False),
        [b"\1" + good, *known.values()],
        statuses(Status.NTE_BAD_VER, Status.NTE_BAD_DATA),
        known,
    )


def registration_parser() -> Parser:
    """A damaged one is no error until somebody opens that provider."""
    file = MemoryFile("provider")

    def parse(data: bytes) -> None:
        found = _from_file(file.write(data))
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
            deep[:300],
        ],
        frozenset(),
        {RecursionError: deep},
    )


def environment_parser() -> Parser:
    """Any home leads to some instance; whether it is there is another question."""

    def parse(data: bytes) -> None:
        # No variable holds a NUL: execve(2) takes them as C strings.
        values = [os.fsdecode(part) for part in data.replace(b"\0", b"").split(b"\n")]
        names = ("KEYISO_HOME", "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME")
        found = client_instance(dict(zip(names, values, strict=False)))
        assert isinstance(found, Instance)
        assert len(os.fsencode(found.control_socket)) <= 107

    return Parser(
        "an environment",
        parse,
        [
            b"/home/a/keyiso",
            b"\n/home/a\n/run/user/1\n/x\n/y",
            b"relative/../..",
            b"\n\n" + b"/x" * 99,
        ],
        frozenset(),
    )


def row_parser() -> Parser:
    """A row of the store, as opening a key and an enumeration find it: id, name and blob."""
    sealed = header()
    database = open_database(Path(":memory:"))
    database.execute(
        "INSERT INTO keys VALUES (x'00', ?, ?, x'00', x'00', 1, 0)",
        (sealed.provider, sealed.owner),
    )
    reader = KeyReader(database, Path("store"))
    client = Client(
        Peer(1, sealed.owner, 1000, frozenset({1000})), "fuzz", b"", b"n" * 16, lambda: True
    )
    authority = Authority(True, frozenset({0}), frozenset())
    size = len(sealed.name)

    def parse(data: bytes) -> None:
        columns = data[:16], data[16 : 16 + size], data[16 + size :]
        database.execute("UPDATE keys SET key_id = ?, name = ?, blob = ?", columns)
        for found in reader.page(sealed.provider, sealed.owner, b"", 10):
            line = listed_key(found, client, authority)
            assert line is None or line.name == found.name
            check_row(found, read_header(found.blob))

    return Parser(
        "a stored key",
        parse,
        [sealed.key_id + sealed.name + blob for blob in BLOBS],
        statuses(Status.NTE_BAD_DATA, Status.NTE_BAD_VER),
    )


def remembered_parser() -> Parser:
    """What an operation id did: the result of a repeat."""
    good = msgspec.msgpack.encode((header(), b"k" * 16))
    known: dict[Outcome, bytes] = {
        msgspec.DecodeError: b"\xc1",
        msgspec.ValidationError: b"\x90",
        UnicodeDecodeError: good.replace(b"Microsoft", b"\xff" * 9),
        RecursionError: b"\x93" + good[1:] + NESTED,
    }
    return Parser(
        "a remembered change",
        _change_of,
        [good, *known.values()],
        statuses(Status.NTE_BAD_DATA, Status.KEYISO_E_STORE),
        known,
    )


def channels_parser() -> Parser:
    """The file of the event channels: whatever is in it, there are channels."""
    directory = memory_directory()

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


def log_parser() -> Parser:
    """Lines of the event log: what is no event is counted, and the last line is read."""
    directory = memory_directory()
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


PARSERS = [
    channels_parser(),
    log_parser(),
    name_parser(),
    root_parser(),
    registration_parser(),
    environment_parser(),
    row_parser(),
    remembered_parser(),
]
