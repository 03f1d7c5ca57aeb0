"""Finding stored keys for those who may use or change them."""

from keyiso.crypto.key_blob import read_header
from keyiso.crypto.key_header import KeyHeader, Right, Scope
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.keyiso_service.access import Authority, check_access, no_such_key
from keyiso.keyiso_service.client import Client
from keyiso.keyiso_service.terms import check_provider
from keyiso.names import check_name
from keyiso.status import Status
from keyiso.store.keys import KeyReader, StoredKey
from keyiso.store.schema import MACHINE
from keyiso.wire.control import KeyName


def partition_of(scope: Scope, uid: int) -> int:
    """Where a user's keys of a scope are kept."""
    return MACHINE if scope == "machine" else uid


def find_key(
    reader: KeyReader, client: Client, provider: str, scope: Scope, name: bytes, right: Right
) -> tuple[StoredKey, KeyHeader]:
    """The stored key of a name, if this client has the right, with its header as it says itself.

    Raises ``NTE_BAD_KEYSET`` where there is none for this client, ``NTE_PERM`` without the right.
    """
    check_provider(provider)
    check_name(name)
    stored = reader.find(provider, partition_of(scope, client.peer.uid), name)
    if stored is None:
        raise no_such_key(scope, name)
    header = read_header(stored.blob)
    check_row(stored, header)
    check_access(stored, header, client.peer, right)
    return stored, header


def check_row(stored: StoredKey, header: KeyHeader) -> None:
    """A row that was moved or edited does not make a key somebody else's: ``NTE_BAD_DATA``."""
    if (
        header.provider != stored.provider
        or partition_of(header.scope, header.owner) != stored.partition
        or header.name != stored.name
        or header.key_id != stored.key_id
        or header.generation != stored.generation
    ):
        raise ncrypt_error(
            Status.NTE_BAD_DATA,
            "the sealed key belongs to another row of the store",
            "The store was edited. Restore it from a backup; other keys are not affected.",
        )


def listed_key(stored: StoredKey, client: Client, authority: Authority) -> KeyName | None:
    """A key's line in an enumeration; none for a key that does not exist for this client."""
    try:
        check_name(stored.name)
    except NCryptError:
        return None  # no key can be asked for by what is no name
    try:
        header = read_header(stored.blob)
    except NCryptError:
        # Who could have deleted it whole sees a damaged key, so that it can be deleted.
        return KeyName(stored.name, "") if _manages(stored, client, authority) else None
    try:
        check_access(stored, header, client.peer, Right.USE)
    except NCryptError:
        return None
    return KeyName(stored.name, header.algorithm)


def _manages(stored: StoredKey, client: Client, authority: Authority) -> bool:
    if stored.partition != MACHINE:
        return stored.partition == client.peer.uid
    try:
        authority.check_manages_machine(client.peer)
    except NCryptError:
        return False
    return True
