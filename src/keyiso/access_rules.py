"""Who may use a key, with users and groups by their names."""

import grp
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from keyiso.crypto.key_header import AccessEntry, PrincipalKind, Right
from keyiso.errors import ncrypt_error
from keyiso.flags import DACL_SECURITY_INFORMATION
from keyiso.providers.security_descriptor import decode_access, encode_descriptor
from keyiso.status import Status

_KINDS: Final[dict[str, PrincipalKind]] = {"user": "uid", "group": "gid"}
_WORDS: Final = {kind: word for word, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class AccessRule:
    """These rights for this user or group. There is no denial."""

    principal: str
    """``user:NAME`` or ``group:NAME``; a number where there is no name."""
    use: bool = True
    """Open the key and operate with it."""
    manage: bool = False
    """Delete it, overwrite it, change its properties and its access list."""

    def __str__(self) -> str:
        rights = [word for word, has in (("use", self.use), ("manage", self.manage)) if has]
        return f"{self.principal} ({', '.join(rights) or 'nothing'})"


def rules_of_descriptor(descriptor: bytes) -> tuple[AccessRule, ...]:
    """The access list of a security descriptor."""
    return tuple(
        AccessRule(
            f"{_WORDS[entry.kind]}:{_name_of(entry.kind, int(entry.principal))}",
            bool(entry.rights & Right.USE),
            bool(entry.rights & Right.MANAGE),
        )
        for entry in decode_access(descriptor)
    )


def rules_to_descriptor(rules: Iterable[AccessRule]) -> bytes:
    """A security descriptor with this access list.

    Raises ``NTE_INVALID_PARAMETER`` for a principal that this machine does not know.
    """
    entries = tuple(_entry(rule) for rule in rules)
    return encode_descriptor(0, entries, DACL_SECURITY_INFORMATION)


def _entry(rule: AccessRule) -> AccessEntry:
    word, _, name = rule.principal.partition(":")
    kind = _KINDS.get(word)
    if kind is None or not name:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER,
            f"{rule.principal!r:.80} names neither a user nor a group",
            "Write user:NAME or group:NAME.",
        )
    rights = (Right.USE if rule.use else Right(0)) | (Right.MANAGE if rule.manage else Right(0))
    return AccessEntry(kind, str(_number_of(kind, name)), int(rights))


def _number_of(kind: PrincipalKind, name: str) -> int:
    if name.isascii() and name.isdecimal() and int(name) < 2**32:
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid if kind == "uid" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ncrypt_error(
            Status.NTE_INVALID_PARAMETER, f"this machine has no {_WORDS[kind]} {name!r:.80}"
        ) from None


def _name_of(kind: PrincipalKind, number: int) -> str:
    """The name, or the number where there is none."""
    try:
        return pwd.getpwuid(number).pw_name if kind == "uid" else grp.getgrgid(number).gr_name
    except (KeyError, OverflowError):
        return str(number)
