"""Who may do what with a key, from the access list in its sealed header."""

import os
from dataclasses import dataclass
from typing import Final

from keyiso import limits
from keyiso.crypto.key_header import AccessEntry, KeyHeader, PrincipalKind, Right, Scope
from keyiso.errors import NCryptError, ncrypt_error
from keyiso.names import decode_name, printable_name
from keyiso.server.peer import Peer
from keyiso.status import Status
from keyiso.store.keys import StoredKey

ROOT_UID: Final = 0


@dataclass(frozen=True, slots=True)
class Authority:
    """Whom this instance serves, and who manages its machine keys."""

    system: bool
    """Serves every user; otherwise only the user it runs as, and root."""
    manager_uids: frozenset[int]
    manager_gids: frozenset[int]
    service_uids: frozenset[int] = frozenset()
    """Of services of keyiso that ask for applications."""

    def admit(self, peer: Peer) -> None:
        """Raise ``KEYISO_E_PEER_REFUSED`` for a user that this instance does not serve."""
        if not self.system and peer.uid not in self.manager_uids | {os.geteuid(), ROOT_UID}:
            raise ncrypt_error(
                Status.KEYISO_E_PEER_REFUSED,
                f"this keyiso serves uid {os.geteuid()}, not uid {peer.uid}",
                "Use an instance of your own, or the system's.",
            )

    def check_manages_machine(self, peer: Peer) -> None:
        """Raise ``NTE_PERM`` for who may not create machine keys."""
        if peer.uid not in self.manager_uids and not peer.groups & self.manager_gids:
            raise ncrypt_error(
                Status.NTE_PERM,
                f"uid {peer.uid} may not create or change machine keys",
                "Do it as root or as a member of the group keyiso.",
            )

    def check_manages_instance(self, peer: Peer) -> None:
        """Raise ``NTE_PERM`` for who may not see who is bound to this instance, nor see and switch
        the channels of its event log.
        """
        if (
            peer.uid not in self.manager_uids | {os.geteuid(), ROOT_UID}
            and not peer.groups & self.manager_gids
        ):
            raise ncrypt_error(
                Status.NTE_PERM,
                f"uid {peer.uid} does not manage this keyiso, nor its event log",
                "Do it as root or as a member of the group keyiso.",
            )

    def check_serves_others(self, peer: Peer) -> None:
        """Raise ``NTE_PERM`` for who is no service of keyiso that asks for applications."""
        if peer.uid not in self.service_uids:
            raise ncrypt_error(
                Status.NTE_PERM, f"uid {peer.uid} runs no service of keyiso and asks for itself"
            )

    def default_access(self, scope: Scope, owner: int) -> tuple[AccessEntry, ...]:
        """The access list of a new key: a user's key is the user's alone, a machine key is for
        those who manage machine keys.
        """
        if scope == "user":
            return (_everything("uid", owner),)
        return (
            *(_everything("uid", uid) for uid in sorted(self.manager_uids)),
            *(_everything("gid", gid) for gid in sorted(self.manager_gids)),
        )


def check_access(stored: StoredKey, header: KeyHeader, peer: Peer, right: Right) -> None:
    """`check_right` for a key that was found in the store.

    What is in a user's own partition is the user's: the header is not authenticated yet, and one
    that was edited must come out as damaged, not as somebody else's.
    """
    if stored.partition != peer.uid:
        check_right(header, peer, right)


def check_right(header: KeyHeader, peer: Peer, right: Right) -> None:
    """Raise when the list does not give this right to this peer.

    ``NTE_BAD_KEYSET`` for who has no right at all: for them the key does not exist.
    ``NTE_PERM`` for who has some right, but not this one.
    """
    rights = _rights_of(header, peer)
    if not rights:
        raise no_such_key(header.scope, header.name)
    if right not in rights:
        raise ncrypt_error(
            Status.NTE_PERM,
            f"the key's access list does not allow uid {peer.uid} to {_VERBS[right]} it",
            "Ask who manages the key.",
        )


def check_access_list(access: tuple[AccessEntry, ...]) -> None:
    """Raise ``NTE_INVALID_PARAMETER`` for a list that no key can have.

    Somebody must be able to manage the key, or it could never be deleted.
    """
    if len(access) > limits.ACCESS_ENTRIES:
        raise _bad_list(f"it has more than ACCESS_ENTRIES ({limits.ACCESS_ENTRIES})")
    for entry in access:
        if entry.kind not in ("uid", "gid") or not _is_number(entry.principal):
            raise _bad_list("an entry is for a uid or a gid, by its number")
        if not entry.rights or entry.rights & ~Right.ALL:
            raise _bad_list("an entry gives the right to use the key, to manage it, or both")
    if not any(entry.rights & Right.MANAGE for entry in access):
        raise _bad_list("nobody could manage the key")


def no_such_key(scope: Scope, name: bytes) -> NCryptError:
    """``NTE_BAD_KEYSET``."""
    return ncrypt_error(
        Status.NTE_BAD_KEYSET,
        f"there is no key named '{printable_name(decode_name(name))}' in the {scope} scope",
        "List the keys with `keyiso key list`; names are compared exactly, case included.",
    )


_VERBS: Final = {Right.USE: "use", Right.MANAGE: "manage"}


def _rights_of(header: KeyHeader, peer: Peer) -> Right:
    rights = Right(0)
    for entry in header.access[: limits.ACCESS_ENTRIES]:
        if _names(entry, peer):
            rights |= Right(entry.rights & Right.ALL)
    return rights


def _names(entry: AccessEntry, peer: Peer) -> bool:
    match entry.kind:
        case "uid":
            return entry.principal == str(peer.uid)
        case "gid":
            return entry.principal in map(str, peer.groups)
        case _:
            # Unit and executable need SO_PEERPIDFD; until they are evaluated they give nothing.
            return False


def _is_number(principal: str) -> bool:
    """A uid or gid as `check_right` compares it."""
    return principal.isascii() and principal.isdecimal() and principal == str(int(principal[:11]))


def _bad_list(cause: str) -> NCryptError:
    return ncrypt_error(Status.NTE_INVALID_PARAMETER, f"this is no access list: {cause}")


def _everything(kind: PrincipalKind, number: int) -> AccessEntry:
    return AccessEntry(kind, str(number), int(Right.ALL))
