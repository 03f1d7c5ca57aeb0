"""A backup comes from anywhere: whatever its bytes are, reading it has a documented error."""

import hashlib
import struct
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from keyiso.status import Status
from tests.fuzz.parser import INPUTS, SEED, Parser, fuzz, has_a_good_input, statuses
from tests.fuzz.wire_parsers import NESTED
from tests.unit.backups import SEALED_ROOT, archive_of, make_store, manifest_of, read, stored
from tests.unit.samples import header

HEAD = struct.Struct("<13sBI32s")
pytestmark = pytest.mark.fuzz

COST = 10
"""Reading a backup takes as long as ten other inputs, as it is a database in a file."""

DOCUMENTED = statuses(
    Status.NTE_BAD_DATA, Status.NTE_BAD_VER, Status.KEYISO_E_LIMIT, Status.KEYISO_E_STORE
)


def with_manifest(manifest: bytes, snapshot: bytes) -> bytes:
    digest = hashlib.sha256(manifest).digest()
    return HEAD.pack(b"keyiso-backup", 1, len(manifest), digest) + manifest + snapshot


def read_anywhere(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="keyiso-fuzz-") as directory:
        for key in read(data, Path(directory)).keys:
            str(key)


def parsers(directory: Path) -> list[Parser]:
    """Whole files, and files whose sums are right, so that what is inside gets looked at."""
    store = make_store(
        directory / "store", stored(header()), stored(header(key_id=b"2" * 16, name=b"2\0"))
    )
    snapshot = store.read_bytes()
    manifests = [
        msgspec.msgpack.encode(manifest_of(store, **changes))
        for changes in ({}, {"root": SEALED_ROOT}, {"machine": b"", "system": True})
    ]
    fields = len(msgspec.structs.astuple(manifest_of(store)))
    deep = bytes([0x90 + fields + 1]) + manifests[0][1:] + NESTED
    fitting = manifest_of(store)

    def with_snapshot(data: bytes) -> bytes:
        manifest = msgspec.structs.replace(
            fitting, snapshot_bytes=len(data), snapshot_sha256=hashlib.sha256(data).digest()
        )
        return with_manifest(msgspec.msgpack.encode(manifest), data)

    found: list[tuple[str, Callable[[bytes], bytes], list[bytes]]] = [
        ("files", bytes, [archive_of(store), archive_of(store, root=SEALED_ROOT)]),
        ("manifests", lambda data: with_manifest(data, snapshot), [*manifests, deep]),
        ("snapshots", with_snapshot, [snapshot]),
    ]
    return [
        Parser(
            f"a backup, {name}",
            lambda data, made=made: read_anywhere(made(data)),  # type: ignore[misc]
            corpus,
            DOCUMENTED,
        )
        for name, made, corpus in found
    ]


@pytest.mark.parametrize("seed", [SEED], ids=lambda seed: f"seed {seed}")
def test_a_bad_backup_has_a_documented_error(tmp_path: Path, seed: int) -> None:
    for parser in parsers(tmp_path):
        has_a_good_input(parser)
        outcomes = fuzz(parser, max(2, INPUTS // COST))
        assert outcomes - Counter({None: outcomes[None]}), "no input was a bad one"
