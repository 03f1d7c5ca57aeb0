"""A store with many keys, made fast: by the trustlet's own engine, but without its process."""

import os
import time
from pathlib import Path

from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import Root
from keyiso.crypto.key_header import AccessEntry
from keyiso.identifiers import MS_KEY_STORAGE_PROVIDER
from keyiso.names import encode_name
from keyiso.paths import Instance
from keyiso.store.keys import StoredKey
from keyiso.store.writer import KeyTransaction, KeyWriter
from keyiso.trustlet.engine import Engine
from keyiso.trustlet.roots import machine_root
from keyiso.wire.key_terms import KeyGrant, KeyTerms

_NO_BOOT = Root(bytes(16), "boot", bytes(32))
_IN_ONE_CHANGE = 5000


def name_of(number: int) -> str:
    return f"key {number:06}"


def fill(instance: Instance, count: int) -> None:
    """Store so many keys on P-256 of this user in an instance that is stopped."""
    root = machine_root(instance.software_machine_root, may_create=False)
    assert root is not None, "the instance has not run yet"
    engine = Engine("software", root, _NO_BOOT)
    writer = KeyWriter(instance.store, SystemClock())
    for start in range(0, count, _IN_ONE_CHANGE):
        _insert(writer, [_key(engine, n) for n in range(start, min(start + _IN_ONE_CHANGE, count))])
    writer.close()


def _insert(writer: KeyWriter, keys: list[StoredKey]) -> None:
    def change(transaction: KeyTransaction) -> None:
        for key in keys:
            transaction.insert(key)

    writer.submit(change, lambda outcome: outcome())


def _key(engine: Engine, number: int) -> StoredKey:
    name, uid = encode_name(name_of(number)), os.geteuid()
    terms = KeyTerms(
        operation_id=bytes(16),
        provider=MS_KEY_STORAGE_PROVIDER,
        scope="user",
        owner=uid,
        name=name,
        lifetime="persisted",
        algorithm="ECDSA_P256",
        bits=256,
        usage=0xFFFFFF,
        export_policy=0,
        overwrite=False,
    )
    sealed = engine.generate(terms, KeyGrant((AccessEntry("uid", str(uid), 3),), 1, b""))
    return StoredKey(
        sealed.header.key_id, MS_KEY_STORAGE_PROVIDER, uid, name, sealed.blob, 1, time.time()
    )


def size_of(path: Path) -> float:
    """MiB on the disk."""
    return path.stat().st_size / (1 << 20)
