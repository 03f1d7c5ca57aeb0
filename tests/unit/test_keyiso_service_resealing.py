"""Keys that somebody changes at the very moment when they are sealed anew."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from keyiso.clock import SystemClock
from keyiso.crypto.key_blob import Root, read_header, seal_key
from keyiso.errors import ncrypt_error
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.key_store import KeyStore
from keyiso.keyiso_service.resealing import Resealing
from keyiso.server.identity import Identity
from keyiso.server.loop import Loop
from keyiso.server.peer import Peer
from keyiso.server.promise import run_coroutine
from keyiso.status import Status
from keyiso.store.keys import StoredKey, StoredProperty
from keyiso.store.writer import KeyTransaction
from keyiso.trustlet.engine import Engine
from keyiso.wire.control import NotResealed, ResealedKeys, ResealKeys
from keyiso.wire.link import Reseal
from keyiso.wire.messages import Call
from keyiso.wire.results import PropertyValue
from tests.conformance.statuses import fails
from tests.unit.fake_clock import FakeClock
from tests.unit.samples import BOOT_ROOT, ROOT, header, pkcs8

IDENTITY = Identity("keyiso", b"i" * 16, b"b" * 16, 4711)
CLIENT = Client(Peer(1, 1000, 1000, frozenset()), "test", b"g" * 32, b"c" * 16, lambda: True)
NEWER = Root(b"newer root      ", "machine", b"secret of the newer machine root")
KEY = header(level="vbs", root_id=ROOT.root_id)
NAME = b"n\0"

Change = Callable[[KeyTransaction], Any]


class Worker:
    """The only one; it answers at once. Before its next answer, once, something else happens."""

    def __init__(self) -> None:
        self._engine = Engine("vbs", NEWER, BOOT_ROOT, older_roots=[ROOT])
        self.meanwhile: Callable[[], Any] | None = None

    def check_sealing_root(self, root_id: bytes) -> None:
        assert root_id == NEWER.root_id

    def any(self, level: str) -> "Worker":
        return self

    def turn(self, *_: object) -> contextlib.AbstractAsyncContextManager[None]:
        return contextlib.nullcontext()

    property_turn = turn

    async def call(self, operation: Any, **_: object) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        if isinstance(operation, Reseal):
            return self._engine.reseal(operation.blob, operation.root_id)
        return PropertyValue(
            self._engine.reseal_property(
                operation.blob, operation.root_id, operation.name, operation.sealed
            )
        )


class Service:
    """A store with one key that has one property, both sealed by the older root."""

    def __init__(self, path: Path) -> None:
        self.older = Engine("vbs", ROOT, BOOT_ROOT)
        self.newer = Engine("vbs", NEWER, BOOT_ROOT)
        self.loop = Loop(SystemClock())
        self.store = KeyStore(self.loop, path, b"b" * 16)
        self.worker = Worker()
        self.clock = FakeClock()
        self.audited: list[bytes] = []
        self.resealing = Resealing(
            IDENTITY, self.store, cast(Any, self.worker), cast(Any, self), self.clock
        )
        blob = seal_key(ROOT, KEY, pkcs8())
        self.key = StoredKey(
            KEY.key_id, KEY.provider, KEY.owner, KEY.name, blob, KEY.generation, 1.5
        )
        self.run(self._filled())

    async def _filled(self) -> None:
        await self.store.change(lambda change: change.insert(self.key))
        await self.put(b"first")

    def resealed(self, *arguments: object) -> None:
        """Of the audit."""
        self.audited.append(KEY.key_id)

    async def put(self, value: bytes) -> None:
        """As another request has a property stored, while the clock stands still."""
        present = self.present()
        sealed = self.older.seal_property(present.blob, NAME, value)

        def change(transaction: KeyTransaction) -> None:
            transaction.set_property(
                StoredProperty(present.key_id, NAME, present.partition, sealed)
            )

        await self.store.change(change)

    def present(self) -> StoredKey:
        found = self.store.read.find(self.key.provider, self.key.partition, self.key.name)
        assert found is not None
        return found

    def property_now(self) -> bytes:
        sealed = self.store.read.property_of(KEY.key_id, NAME)
        assert sealed is not None
        return self.newer.open_property(self.present().blob, NAME, sealed)

    def reseal(self, after: bytes = b"") -> ResealedKeys:
        call = Call(1, ResealKeys(NEWER.root_id, after))
        return cast(ResealedKeys, self.run(self.resealing.reseal(CLIENT, call)))

    def run(self, coroutine: Any) -> object:
        outcomes: list[Callable[[], object]] = []

        def done(outcome: Callable[[], object]) -> None:
            outcomes.append(outcome)
            self.loop.stop()

        self.loop._stopped = False  # it ran before
        self.loop.call_soon_from_thread(lambda: run_coroutine(coroutine, done))
        self.loop.run()
        return outcomes[0]()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "keys.db")
    yield made
    made.store.close()
    made.loop.close()


def test_a_key_and_its_property_are_sealed_by_the_newer_root(service: Service) -> None:
    assert service.reseal() == ResealedKeys(b"", 1, 0, ())
    present = service.present()
    assert read_header(present.blob).root_id == NEWER.root_id
    assert present.generation == service.key.generation + 1
    assert present.modified == service.key.modified, "its owner has changed nothing since"
    assert service.property_now() == b"first"
    assert service.audited == [KEY.key_id]
    assert service.reseal() == ResealedKeys(b"", 0, 1, ())
    assert service.audited == [KEY.key_id]


def test_a_property_that_is_stored_meanwhile_is_not_lost(service: Service) -> None:
    service.worker.meanwhile = lambda: service.put(b"second")
    assert service.reseal().resealed == 1
    assert service.property_now() == b"second"


def test_a_key_that_is_changed_meanwhile_is_sealed_as_it_is_then(service: Service) -> None:
    async def change() -> None:
        changed = service.older.change_access(service.present().blob, ())
        await service.store.change(
            lambda transaction: transaction.update(
                replace(service.present(), blob=changed.blob, generation=changed.header.generation)
            )
        )

    service.worker.meanwhile = change
    assert service.reseal().resealed == 1
    now = read_header(service.present().blob)
    assert (now.access, now.generation) == ((), KEY.generation + 2)
    assert now.root_id == NEWER.root_id


def test_a_key_that_is_replaced_or_deleted_meanwhile_does_not_come_back(service: Service) -> None:
    async def replaced() -> None:
        other = msgspec.structs.replace(KEY, key_id=b"another key id  ", root_id=NEWER.root_id)
        row = replace(
            service.key, key_id=other.key_id, blob=seal_key(NEWER, other, pkcs8()), modified=9.0
        )

        def change(transaction: KeyTransaction) -> None:
            transaction.delete(KEY.key_id)
            transaction.insert(row)

        await service.store.change(change)

    service.worker.meanwhile = replaced
    assert service.reseal() == ResealedKeys(b"", 0, 0, ())
    assert service.present().key_id == b"another key id  "
    assert service.audited == []


def test_a_damaged_key_is_named_and_what_is_nobodys_fault_ends_the_request(
    service: Service,
) -> None:
    whole, damaged = service.key.blob, service.key.blob[:-1] + b"?"

    async def write(blob: bytes) -> None:
        row = replace(service.present(), blob=blob)
        await service.store.change(lambda change: change.update(row))

    async def full_disk() -> None:
        raise ncrypt_error(Status.KEYISO_E_STORE, "the disk is full")

    service.run(write(damaged))
    (failed,) = service.reseal().failed
    assert failed == NotResealed(KEY.owner, KEY.name, Status.NTE_BAD_DATA)
    service.run(write(whole))
    service.worker.meanwhile = full_disk
    with fails(Status.KEYISO_E_STORE):
        service.reseal()
    assert service.reseal().resealed == 1


@pytest.mark.parametrize("root_id", [b"", b"r" * 15, b"r" * 17])
def test_what_is_no_id_of_a_root_is_refused(service: Service, root_id: bytes) -> None:
    with fails(Status.NTE_INVALID_PARAMETER):
        service.run(service.resealing.reseal(CLIENT, Call(1, ResealKeys(root_id, b""))))


def test_the_next_keys_come_by_their_ids(service: Service) -> None:
    """Also when the store has more of them than fit into one answer."""
    count = 40

    def fill(change: KeyTransaction) -> None:
        for number in range(count):
            key = msgspec.structs.replace(
                KEY, key_id=number.to_bytes(16, "big"), name=f"{number}".encode("utf-16-le")
            )
            change.insert(
                replace(
                    service.key, key_id=key.key_id, name=key.name, blob=seal_key(ROOT, key, pkcs8())
                )
            )

    async def filled() -> None:
        await service.store.change(fill)

    service.run(filled())
    after, parts = b"", []
    while True:
        part = service.reseal(after)
        parts.append(part.resealed)
        after = part.last
        if not after:
            break
    assert parts == [32, count + 1 - 32]


def test_a_request_that_takes_long_ends_before_the_next_key(service: Service) -> None:
    other = msgspec.structs.replace(KEY, key_id=b"\xff" * 16, name=b"o\0")
    row = replace(
        service.key, key_id=other.key_id, name=other.name, blob=seal_key(ROOT, other, pkcs8())
    )

    async def fill() -> None:
        await service.store.change(lambda change: change.insert(row))

    async def take_long() -> None:
        service.clock.advance(60)

    service.run(fill())
    service.worker.meanwhile = take_long
    assert service.reseal() == ResealedKeys(KEY.key_id, 1, 0, ())
    assert service.reseal(KEY.key_id) == ResealedKeys(b"", 1, 0, ())
