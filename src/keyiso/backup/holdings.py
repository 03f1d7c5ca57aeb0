"""What a store holds, as far as it can be known without the roots that seal its keys."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import Level, RootKind
from keyiso.errors import NCryptError
from keyiso.names import check_name, decode_name, printable_name
from keyiso.store.keys import KeyReader, StoredKey
from keyiso.store.schema import MACHINE

Place = tuple[str, int, bytes]
"""Provider, partition and name: where there is at most one key."""


class KeyRoot(msgspec.Struct, frozen=True, array_like=True):
    """Which root opens a key."""

    level: Level
    kind: RootKind
    root_id: bytes


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A stored key. Its root is what the sealed header says, which nobody has authenticated."""

    place: Place
    key_id: bytes
    generation: int
    root: KeyRoot | None
    """None for a key whose record is damaged."""

    @property
    def provider(self) -> str:
        return self.place[0]

    @property
    def partition(self) -> int:
        """A uid, or `MACHINE`."""
        return self.place[1]

    @property
    def name(self) -> str | None:
        """None for what is no name; no program can ask for such a key."""
        try:
            check_name(self.place[2])
        except NCryptError:
            return None
        return decode_name(self.place[2])

    def __str__(self) -> str:
        """For people: which key it is, with nothing in it that could steer a terminal."""
        name = "(no name)" if self.name is None else f"'{printable_name(self.name)}'"
        return (
            f"{name} of {'the machine' if self.partition == MACHINE else f'uid {self.partition}'}"
        )


class RootNeed(msgspec.Struct, frozen=True, array_like=True):
    """A root, and how many keys it opens."""

    root: KeyRoot
    keys: int


class Holdings(msgspec.Struct, frozen=True, array_like=True):
    """The keys of a store, counted."""

    user_keys: int
    machine_keys: int
    damaged_keys: int
    roots: tuple[RootNeed, ...]


def held_keys(reader: KeyReader) -> tuple[HeldKey, ...]:
    """All keys of a store. Raises ``KEYISO_E_STORE`` when a row cannot be read."""
    return tuple(map(_held, reader.every()))


def holdings_of(keys: Iterable[HeldKey]) -> Holdings:
    """The keys, counted."""
    keys = tuple(keys)
    machine = sum(key.partition == MACHINE for key in keys)
    roots = Counter(key.root for key in keys if key.root is not None)
    return Holdings(
        len(keys) - machine,
        machine,
        sum(key.root is None for key in keys),
        tuple(RootNeed(root, count) for root, count in sorted(roots.items(), key=repr)),
    )


def _held(stored: StoredKey) -> HeldKey:
    place = stored.provider, stored.partition, stored.name
    return HeldKey(place, stored.key_id, stored.generation, _root_of(stored))


def _root_of(stored: StoredKey) -> KeyRoot | None:
    try:
        header = read_header(stored.blob)
    except NCryptError:
        return None
    if (header.provider, header.name, header.key_id) != (
        stored.provider,
        stored.name,
        stored.key_id,
    ):
        return None  # the KeyIso service refuses a blob that was moved to another row
    return KeyRoot(header.level, header.root_kind, header.root_id)
